// Shows what the bot writes while a person looks. Without it the page is as it was when it was opened.
const LOOK_MS = 1000;

const list = document.getElementById("messages");
let known = "";

async function look() {
  const answer = await fetch(`/chats/${list.dataset.chat}/messages`).catch(() => null);
  if (!answer?.ok) return;
  const now = await answer.text();
  if (now === known) return;
  known = now;
  // The server escapes all that people and the bot wrote, and the page runs no script but this.
  list.innerHTML = now;
  list.lastElementChild?.scrollIntoView({ block: "nearest" });
}

look();
setInterval(look, LOOK_MS);
