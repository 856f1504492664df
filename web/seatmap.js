// The plan of a hall on a canvas: pan, zoom, keyboard, and marks that can be told apart without colour.
import { FREE, HELD, NOT_FOR_SALE, SOLD, neighbour } from './hall.js';

/** CSS pixels of a seat from which it can be chosen, has its own shape, shows its row, shows its number. */
const PICK_PX_MIN = 9;
const SHAPE_PX_MIN = 4.5;
const ROW_PX_MIN = 9;
const NUMBER_PX_MIN = 17;
const SEAT_PX_MAX = 44;
/** A pointer that moved less than so many CSS pixels was a click. */
const DRAG_PX_MIN = 6;
const PICKED_SEAT_PX = 22;
/** The part of the distance between seats that a seat fills. */
const SEAT_SHARE = 0.82;
/** A section narrower than so many CSS pixels has its name in small letters. */
const NAME_ROOM_PX_MIN = 70;
const NAME_FONT = '600 13px system-ui, sans-serif';
const NAME_FONT_SMALL = '600 10px system-ui, sans-serif';
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class SeatMap {
  /** `on` has `pick(seat)`, `standing(area)`, `look(seat | area | null)`. */
  constructor(canvas, hall, on, signal) {
    Object.assign(this, {
      canvas,
      hall,
      on,
      context: canvas.getContext('2d'),
      chosen: new Set(),
      only: null,
      cursor: null,
    });
    Object.assign(this, {
      scale: 0,
      x: 0,
      y: 0,
      width: 0,
      height: 0,
      pointers: new Map(),
      sprites: new Map(),
      isDrawing: false,
    });
    this.colors = new Map(hall.layout.categories.map(({ id, color }) => [id, color]));
    const listen = (name, act, options = {}) => canvas.addEventListener(name, act.bind(this), { signal, ...options });
    listen('pointerdown', this.pointerDown);
    listen('pointermove', this.pointerMove);
    listen('pointerup', this.pointerUp);
    listen('pointercancel', (event) => this.pointers.delete(event.pointerId));
    listen('pointerleave', () => this.on.look(null));
    listen('wheel', this.wheel, { passive: false });
    listen('keydown', this.keyDown);
    listen('blur', this.draw);
    this.scheme = matchMedia('(prefers-color-scheme: dark)');
    this.scheme.addEventListener('change', () => this.readTheme(), { signal });
    const observer = new ResizeObserver(() => this.resize());
    observer.observe(canvas);
    signal.addEventListener('abort', () => observer.disconnect());
    this.readTheme();
  }

  readTheme() {
    const style = getComputedStyle(document.documentElement);
    const read = (name) => style.getPropertyValue(name).trim();
    this.theme = {
      ink: read('--ink'),
      faint: read('--seat-gone'),
      paper: read('--map'),
      accent: read('--accent'),
      onAccent: read('--on-accent'),
    };
    this.sprites.clear();
    this.draw();
  }

  resize() {
    const ratio = devicePixelRatio;
    const wasEmpty = this.width === 0;
    [this.width, this.height, this.ratio] = [this.canvas.clientWidth, this.canvas.clientHeight, ratio];
    [this.canvas.width, this.canvas.height] = [this.width * ratio, this.height * ratio];
    this.sprites.clear();
    if (wasEmpty) this.fit();
    else this.draw();
  }

  /** Shows the whole hall. */
  fit() {
    const [left, top, right, bottom] = this.hall.box;
    this.scale = this.fitScale = Math.min(this.width / (right - left), this.height / (bottom - top));
    [this.x, this.y] = [(left + right) / 2, (top + bottom) / 2];
    this.draw();
  }

  get seatPx() {
    return this.hall.pitch * this.scale * SEAT_SHARE;
  }

  /** Zooms by a factor and keeps what is under this point of the canvas where it is. */
  zoom(factor, px = this.width / 2, py = this.height / 2) {
    const scaleMax = Math.max(SEAT_PX_MAX / this.hall.pitch / SEAT_SHARE, this.fitScale);
    const scale = Math.min(Math.max(this.scale * factor, this.fitScale * 0.9), scaleMax);
    const [x, y] = this.toPlan(px, py);
    this.scale = scale;
    this.moveTo(x - (px - this.width / 2) / scale, y - (py - this.height / 2) / scale);
  }

  moveTo(x, y) {
    const [left, top, right, bottom] = this.hall.box;
    [this.x, this.y] = [Math.min(Math.max(x, left), right), Math.min(Math.max(y, top), bottom)];
    this.draw();
  }

  toPlan(px, py) {
    return [this.x + (px - this.width / 2) / this.scale, this.y + (py - this.height / 2) / this.scale];
  }

  toScreen(x, y) {
    return [(x - this.x) * this.scale + this.width / 2, (y - this.y) * this.scale + this.height / 2];
  }

  /** What is at this point of the canvas: a seat, a standing area, or nothing. */
  at(px, py) {
    const [x, y] = this.toPlan(px, py);
    const isIn = ({ box }) => x >= box[0] && x <= box[2] && y >= box[1] && y <= box[3];
    let found = null;
    let least = (this.hall.pitch * 0.75) ** 2;
    for (const seat of this.hall.sections.filter(isIn).flatMap(({ seats }) => seats)) {
      const distance = (seat.x - x) ** 2 + (seat.y - y) ** 2;
      if (distance < least && seat.state !== NOT_FOR_SALE) [found, least] = [seat, distance];
    }
    return found ?? this.hall.standing.find(isIn) ?? null;
  }

  pointerDown(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
    if (this.pointers.size === 1) this.dragged = 0;
  }

  pointerMove(event) {
    const before = this.pointers.get(event.pointerId);
    const now = [event.offsetX, event.offsetY];
    if (!before) {
      this.on.look(this.at(...now));
      return;
    }
    const others = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, point]) => point);
    this.pointers.set(event.pointerId, now);
    this.dragged += Math.hypot(now[0] - before[0], now[1] - before[1]);
    if (others.length > 0) {
      const far = ([x, y]) => Math.max(Math.hypot(x - others[0][0], y - others[0][1]), 1);
      this.zoom(far(now) / far(before), (now[0] + others[0][0]) / 2, (now[1] + others[0][1]) / 2);
      this.dragged = DRAG_PX_MIN;
    } else if (this.dragged >= DRAG_PX_MIN) {
      this.moveTo(this.x - (now[0] - before[0]) / this.scale, this.y - (now[1] - before[1]) / this.scale);
    }
  }

  pointerUp(event) {
    const wasAlone = this.pointers.size === 1;
    const wasDown = this.pointers.delete(event.pointerId);
    if (!wasDown || !wasAlone || this.dragged >= DRAG_PX_MIN) return;
    const found = this.at(event.offsetX, event.offsetY);
    this.on.look(found);
    if (found?.box) this.on.standing(found);
    else if (this.seatPx < PICK_PX_MIN) this.zoomOnto(event.offsetX, event.offsetY);
    else if (found) this.pick(found);
  }

  /** Goes near: seats this small cannot be told apart by a finger. */
  zoomOnto(px, py) {
    this.zoom(PICKED_SEAT_PX / this.seatPx, px, py);
    this.on.zoomed();
  }

  pick(seat) {
    this.cursor = seat;
    this.on.pick(seat);
    this.draw();
  }

  wheel(event) {
    event.preventDefault();
    this.zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0016)), event.offsetX, event.offsetY);
  }

  keyDown(event) {
    const { key } = event;
    if (key in ARROWS) this.moveCursor(ARROWS[key]);
    else if ((key === 'Enter' || key === ' ') && this.cursor) this.pick(this.cursor);
    else if (key === '+' || key === '=') this.zoom(1.4);
    else if (key === '-') this.zoom(1 / 1.4);
    else if (key === '0') this.fit();
    else return;
    event.preventDefault();
  }

  moveCursor(direction) {
    const next = this.cursor
      ? neighbour(this.hall, this.cursor, direction)
      : this.hall.seats.find(({ state }) => state === FREE);
    this.cursor = next ?? this.cursor;
    if (!this.cursor) return;
    if (this.seatPx < PICK_PX_MIN) this.zoom(PICKED_SEAT_PX / this.seatPx);
    const [px, py] = this.toScreen(this.cursor.x, this.cursor.y);
    const isNear = px > 40 && py > 40 && px < this.width - 40 && py < this.height - 40;
    if (!isNear) this.moveTo(this.cursor.x, this.cursor.y);
    this.on.look(this.cursor);
    this.draw();
  }

  /** Draws once before the next frame, however often it is asked. */
  draw() {
    if (this.isDrawing) return;
    this.isDrawing = true;
    requestAnimationFrame(() => {
      this.isDrawing = false;
      if (this.width > 0) this.paint();
    });
  }

  paint() {
    const { context, ratio } = this;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = this.theme.paper;
    context.fillRect(0, 0, this.width, this.height);
    context.textAlign = 'center';
    context.textBaseline = 'middle';
    this.hall.standing.forEach((area) => this.paintStanding(area));
    const [left, top] = this.toPlan(0, 0);
    const [right, bottom] = this.toPlan(this.width, this.height);
    const isSeen = ({ box }) => box[2] > left && box[0] < right && box[3] > top && box[1] < bottom;
    const sections = this.hall.sections.filter(isSeen);
    const paint = this.seatPx < SHAPE_PX_MIN ? this.paintDot : this.paintSeat;
    sections.forEach(({ seats }) => seats.forEach((seat) => paint.call(this, seat)));
    if (this.seatPx < ROW_PX_MIN) this.paintNames();
    this.paintCursor();
  }

  isDim(seat) {
    return this.only !== null && seat.category !== this.only;
  }

  look(seat) {
    if (this.chosen.has(seat.key)) return 'chosen';
    if (seat.state === FREE) return this.isDim(seat) ? 'dim' : 'free';
    return seat.state === HELD ? 'held' : 'sold';
  }

  /** From afar: a full dot is free, a small one is not. */
  paintDot(seat) {
    if (seat.state === NOT_FOR_SALE) return;
    const [px, py] = this.toScreen(seat.x, seat.y);
    const look = this.look(seat);
    const size = Math.max(this.seatPx * (look === 'free' || look === 'chosen' ? 1 : 0.45), 1);
    const grown = look === 'chosen' ? size + 3 : size;
    const plain = look === 'free' ? this.shade(seat.category) : this.theme.faint;
    this.context.fillStyle = look === 'chosen' ? this.theme.ink : plain;
    this.context.fillRect(px - grown / 2, py - grown / 2, grown, grown);
  }

  paintSeat(seat) {
    if (seat.state === NOT_FOR_SALE) return;
    const [px, py] = this.toScreen(seat.x, seat.y);
    const margin = this.seatPx * 2;
    if (px < -margin || py < -margin || px > this.width + margin || py > this.height + margin) return;
    const { context } = this;
    const look = this.look(seat);
    const sprite = this.sprite(look, seat.category, seat.accessible);
    const side = sprite.width / this.ratio;
    context.drawImage(
      sprite,
      Math.round((px - side / 2) * this.ratio) / this.ratio,
      Math.round((py - side / 2) * this.ratio) / this.ratio,
      side,
      side,
    );
    if (this.seatPx >= NUMBER_PX_MIN && look === 'free' && !seat.accessible) {
      context.fillStyle = textOn(this.shade(seat.category));
      context.font = `600 ${this.seatPx * 0.46}px system-ui, sans-serif`;
      context.fillText(seat.seat, px, py + this.seatPx * 0.03);
    }
    if (seat.isEnd !== 0 && this.seatPx >= ROW_PX_MIN) this.paintRowName(seat);
  }

  paintRowName(seat) {
    const [px, py] = this.toScreen(seat.x + seat.isEnd * seat.dx * 1.25, seat.y + seat.isEnd * seat.dy * 1.25);
    this.context.fillStyle = this.theme.ink;
    this.context.font = `${Math.min(Math.max(this.seatPx * 0.5, 9), 13)}px system-ui, sans-serif`;
    const isLong = seat.row.length > 3;
    if (!isLong || seat.isEnd < 0) this.context.fillText(seat.row, px, py);
  }

  /** A seat's picture at this zoom, drawn once: free is filled, held is a ring, sold a cross, chosen has a tick. */
  sprite(look, category, accessible) {
    const size = Math.max(Math.round(this.seatPx * this.ratio), 3);
    const name = `${look} ${look === 'free' || look === 'held' ? category : ''} ${accessible} ${size}`;
    let sprite = this.sprites.get(name);
    if (!sprite) {
      if (this.sprites.size > 400) this.sprites.clear();
      sprite = Object.assign(document.createElement('canvas'), { width: size + 6, height: size + 6 });
      paintLook(sprite.getContext('2d'), { look, accessible, size, color: this.shade(category), theme: this.theme });
      this.sprites.set(name, sprite);
    }
    return sprite;
  }

  /** A category's colour, moved away from the paper so that it is seen in both themes. */
  shade(category) {
    const key = `shade ${category}`;
    if (!this.sprites.has(key)) {
      const target = this.scheme.matches ? 255 : 0;
      const share = this.scheme.matches ? 0.28 : 0.1;
      const mixed = rgb(this.colors.get(category) ?? '#888888').map((part) =>
        Math.round(part + (target - part) * share),
      );
      this.sprites.set(key, `rgb(${mixed.join(' ')})`);
    }
    return this.sprites.get(key);
  }

  paintStanding({ section, category, box, free }) {
    const { context } = this;
    const [left, top] = this.toScreen(box[0], box[1]);
    const [width, height] = [(box[2] - box[0]) * this.scale, (box[3] - box[1]) * this.scale];
    context.globalAlpha = this.only !== null && this.only !== category ? 0.08 : 0.22;
    context.fillStyle = this.shade(category);
    context.fillRect(left, top, width, height);
    context.globalAlpha = 1;
    context.strokeStyle = this.shade(category);
    context.lineWidth = 1.5;
    context.strokeRect(left, top, width, height);
    context.fillStyle = this.theme.ink;
    context.font = NAME_FONT;
    const isWide = context.measureText(section.name).width < width - 8;
    const [px, py] = [left + width / 2, top + height / 2];
    context.fillText(isWide ? section.name : section.id, px, py - 9);
    context.font = '12px system-ui, sans-serif';
    const places = this.on.left(free);
    context.fillText(context.measureText(places).width < width - 8 ? places : String(free), px, py + 9);
  }

  /** Names of sections over their seats, as long as those are too small to show theirs; short ones where room is short. */
  paintNames() {
    const { context } = this;
    const sections = this.hall.sections.filter(({ anchors }) => anchors.length === 1);
    context.font = NAME_FONT;
    const isRoomy = sections.every(
      ({ section, box }) => context.measureText(section.name).width < (box[2] - box[0]) * this.scale * 0.9,
    );
    const wide = ({ section }) => (isRoomy ? section.name : section.id);
    for (const one of this.hall.sections) {
      const isTight = (one.box[2] - one.box[0]) * this.scale < NAME_ROOM_PX_MIN;
      context.font = isTight ? NAME_FONT_SMALL : NAME_FONT;
      one.anchors.forEach(({ x, y }) => this.paintName(wide(one), ...this.toScreen(x, y)));
    }
  }

  paintName(name, px, py) {
    const { context } = this;
    const half = context.measureText(name).width / 2 + 4;
    context.globalAlpha = 0.75;
    context.fillStyle = this.theme.paper;
    context.fillRect(px - half, py - 7, half * 2, 14);
    context.globalAlpha = 1;
    context.fillStyle = this.theme.ink;
    context.fillText(name, px, py + 0.5);
  }

  paintCursor() {
    if (!this.cursor || document.activeElement !== this.canvas) return;
    const [px, py] = this.toScreen(this.cursor.x, this.cursor.y);
    const side = Math.max(this.seatPx, 6) + 8;
    this.context.strokeStyle = this.theme.accent;
    this.context.lineWidth = 3;
    this.context.strokeRect(px - side / 2, py - side / 2, side, side);
  }
}

function paintLook(context, { look, accessible, size, color, theme }) {
  const middle = size / 2 + 3;
  const isGone = look === 'sold' || look === 'dim';
  const radius = look === 'sold' ? size * 0.24 : size / 2;
  context.translate(middle, middle);
  context.lineWidth = Math.max(size * 0.12, 1);
  context.strokeStyle = look === 'held' ? color : theme.faint;
  context.fillStyle = look === 'chosen' ? theme.ink : isGone ? theme.faint : color;
  if (look === 'sold')
    return paintStrokes(context, [
      [-radius, -radius, radius, radius],
      [radius, -radius, -radius, radius],
    ]);
  const inset = look === 'held' ? context.lineWidth / 2 : 0;
  context.beginPath();
  if (accessible) context.rect(inset - radius, inset - radius, 2 * (radius - inset), 2 * (radius - inset));
  else context.arc(0, 0, radius - inset, 0, 2 * Math.PI);
  if (look === 'held') return context.stroke();
  if (look === 'dim') context.globalAlpha = 0.45;
  context.fill();
  context.strokeStyle = look === 'chosen' ? theme.paper : textOn(color);
  if (look === 'chosen')
    return paintStrokes(context, [
      [-radius * 0.45, 0, -radius * 0.1, radius * 0.4],
      [-radius * 0.1, radius * 0.4, radius * 0.5, -radius * 0.4],
    ]);
  if (accessible) paintWheelchair(context, radius);
}

function paintStrokes(context, lines) {
  context.beginPath();
  for (const [x1, y1, x2, y2] of lines) {
    context.moveTo(x1, y1);
    context.lineTo(x2, y2);
  }
  context.stroke();
}

function paintWheelchair(context, radius) {
  context.beginPath();
  context.arc(-radius * 0.1, radius * 0.28, radius * 0.4, -Math.PI * 0.35, Math.PI * 1.15);
  context.moveTo(-radius * 0.12, -radius * 0.55);
  context.lineTo(-radius * 0.12, radius * 0.1);
  context.lineTo(radius * 0.35, radius * 0.1);
  context.lineTo(radius * 0.55, radius * 0.6);
  context.stroke();
}

const rgb = (color) =>
  color.startsWith('#')
    ? color
        .slice(1)
        .match(/../g)
        .map((part) => parseInt(part, 16))
    : color.match(/\d+/g).map(Number);

/** Black or white, whichever is read better on this colour. */
function textOn(color) {
  const [red, green, blue] = rgb(color);
  return red * 0.299 + green * 0.587 + blue * 0.114 > 150 ? '#111' : '#fff';
}
