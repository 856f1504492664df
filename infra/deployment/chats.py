"""Somebody's chats: with the bot, in the sandbox's Telegram, and of a messenger that connects itself."""

import html
import re
import secrets

from office import eventually, send

UPDATES = ["message", "callback_query", "my_chat_member"]


def set_webhook(cloud):
    """What whoever deploys tells Telegram: where to send what people write, and by what we know it (infra/README.md)."""
    manager = cloud.client("secretsmanager")
    secret = manager.get_secret_value(SecretId="boxoffice/telegram-webhook-secret")["SecretString"]
    body = {"url": f"{cloud.api}/messenger/telegram/webhook", "secret_token": secret, "allowed_updates": UPDATES}
    status, answer, _ = send("POST", f"{cloud.messenger}/bot{cloud.bot_token}/setWebhook", body)
    assert (status, answer["ok"]) == (200, True), answer


class Chat:
    """Opened by a link to the bot, and linked with the account that made the link."""

    def __init__(self, office, person):
        set_webhook(office.cloud)
        self.office, self.person = office, person
        link = person.ask("POST", "/messenger/links", {"messenger": "telegram"}, 201)
        opened = self.post("/chats", {"name": "Chatter", "language": "en", "start": link["deep_link"]})
        self.path = re.search(r"/chats/\d+", opened)[0]
        self.presses("link:")
        office.comes_to(person, "/messenger/chats", "is linked", lambda found: found["items"])

    def post(self, path, form):
        status, page, _ = send("POST", self.office.cloud.messenger + path, form=form)
        assert status == 200, (path, status)
        return page

    def read(self):
        """The messages as the chat's page has them, the last one last."""
        _, page, _ = send("GET", f"{self.office.cloud.messenger}{self.path}/messages")
        return page.split("</li>")[:-1]

    def comes(self, what, holds):
        """Waits for a message of which this holds."""
        def look():
            return next((message for message in reversed(self.read()) if holds(message)), None)

        return eventually(f"a message with {what}", look)

    def says(self, text, answer):
        """Writes, and waits for an answer with this in it."""
        before = len(self.read())
        self.post(f"{self.path}/messages", {"text": text})
        eventually(f"an answer to {text}", lambda: any(answer in message for message in self.read()[before + 1 :]))

    def presses(self, data):
        """Presses the last button whose data begins so."""
        pattern = re.compile(f'name="message" value="(\\d+)">\\s*<button class="quiet" name="data" value="({data}[^"]*)"')
        message = self.comes(f"a button {data}", pattern.search)
        number, found = pattern.findall(message)[-1]
        self.post(f"{self.path}/presses", {"message": number, "data": html.unescape(found)})


class Posted:
    """A chat of the messenger that connects itself, linked with this person's account."""

    def __init__(self, office, person):
        self.office, self.chat = office, f"c-{secrets.token_hex(4)}"
        token = person.ask("POST", "/messenger/links", {"messenger": "smoke"}, 201)["deep_link"].split("=")[1]
        linked = self.says({"type": "chat.link", "token": token, "chat": self.chat, "name": "Posted"}, 200)
        assert "***@" in linked["account"], linked

    def says(self, body, expect=204):
        cloud = self.office.cloud
        status, answer, _ = send("POST", f"{cloud.api}/messenger/smoke/webhook", body, cloud.smoke.signed(body))
        assert status == expect, (body["type"], status, answer)
        return answer

    def is_told(self):
        """Waits for a message, and says that it was delivered."""
        [post, *_] = eventually("a post", lambda: self.office.cloud.smoke.of(self.chat))
        self.says({"type": "message.delivered", "id": post["id"]})
