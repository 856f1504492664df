// A hall's scheme as a flat list of seats with positions, and the states that the seat map gives them.
import { seatKey } from './ui.js';

export const FREE = 0;
export const HELD = 1;
export const SOLD = 2;
export const NOT_FOR_SALE = 3;
/** Where all rows are single seats, this is the distance between seats, in plan units. */
const PITCH_DEFAULT = 50;

/** The seats of a layout, its standing areas, and the box around it all, in plan units. */
export function buildHall(layout) {
  const hall = { layout, seats: [], rows: [], sections: [], standing: [], pitch: pitchOf(layout), byKey: new Map() };
  layout.sections.forEach((section) => {
    if (section.standing) {
      const { x, y, width, height } = section.standing;
      hall.standing.push({ section, category: section.standing.category, free: 0, box: [x, y, x + width, y + height] });
      return;
    }
    const start = hall.seats.length;
    section.rows.forEach((row) => addRow(hall, section, row));
    const seats = hall.seats.slice(start);
    const box = around(
      seats.map((seat) => [seat.x, seat.y, seat.x, seat.y]),
      hall.pitch,
    );
    hall.sections.push({ section, seats, box, anchors: anchorsOf(seats, box, hall.pitch) });
  });
  hall.box = around(
    [...hall.sections, ...hall.standing].map(({ box }) => box),
    hall.pitch,
  );
  return hall;
}

function addRow(hall, section, row) {
  const { first = 1, step = 1, gaps = [], accessible = [], zones = [], dx, dy = 0, bow = 0 } = row;
  const start = hall.seats.length;
  for (let position = 0; position < row.seats; position += 1) {
    const number = first + step * position;
    if (gaps.includes(number)) continue;
    const t = row.seats > 1 ? position / (row.seats - 1) : 0;
    const zone = zones.find(({ from, to }) => number >= Math.min(from, to) && number <= Math.max(from, to));
    const seat = {
      section: section.id,
      sectionName: section.name,
      row: row.name,
      seat: String(number),
      position,
      category: zone?.category ?? row.category,
      accessible: accessible.includes(number),
      state: NOT_FOR_SALE,
      x: row.x + position * dx,
      y: row.y + position * dy + bow * 4 * t * (1 - t),
      isEnd: position === 0 ? -1 : Number(position === row.seats - 1),
      dx,
      dy,
    };
    seat.key = seatKey(seat);
    hall.byKey.set(seat.key, seat);
    hall.seats.push(seat);
  }
  hall.rows.push({ section: section.id, name: row.name, seats: hall.seats.slice(start) });
}

/** Where a section's name goes: its middle, or, where that is not among its own seats, the nearest on either side. */
function anchorsOf(seats, box, pitch) {
  const [x, y] = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];
  const far = (seat) => Math.hypot(seat.x - x, seat.y - y);
  const nearest = (some) => some.reduce((best, seat) => (best && far(best) <= far(seat) ? best : seat), null);
  const closest = nearest(seats);
  if (!closest || far(closest) < 3 * pitch) return [{ x, y }];
  return [nearest(seats.filter((seat) => seat.x < x)), nearest(seats.filter((seat) => seat.x >= x))].filter(Boolean);
}

function pitchOf(layout) {
  const rows = layout.sections.flatMap((section) => section.rows ?? []).filter((row) => row.seats > 1);
  const pitches = rows
    .map(({ dx, dy = 0 }) => Math.hypot(dx, dy))
    .filter((pitch) => pitch > 0)
    .sort((a, b) => a - b);
  return pitches[pitches.length >> 1] ?? PITCH_DEFAULT;
}

function around(boxes, margin) {
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [left, top, right, bottom] of boxes) {
    box[0] = Math.min(box[0], left - margin);
    box[1] = Math.min(box[1], top - margin);
    box[2] = Math.max(box[2], right + margin);
    box[3] = Math.max(box[3], bottom + margin);
  }
  return box;
}

/** Takes over the states of a seat map: two bits a position, the most significant first, in base64url. */
export function applyStates(hall, map) {
  const sections = new Map(map.sections.map((section) => [section.id, section]));
  hall.standing.forEach((area) => (area.free = sections.get(area.section.id)?.free ?? 0));
  for (const { section, name, seats } of hall.rows) {
    const packed = sections.get(section)?.rows?.[name] ?? '';
    const bytes = atob(packed.replaceAll('-', '+').replaceAll('_', '/'));
    for (const seat of seats) {
      const at = seat.position >> 2;
      seat.state = at < bytes.length ? (bytes.charCodeAt(at) >> (6 - 2 * (seat.position & 3))) & 3 : NOT_FOR_SALE;
    }
  }
}

/** The nearest seat from this one into a direction (a unit vector), preferring what lies straight ahead. */
export function neighbour(hall, from, [dx, dy]) {
  let best = null;
  let least = Infinity;
  for (const seat of hall.seats) {
    const ahead = (seat.x - from.x) * dx + (seat.y - from.y) * dy;
    const aside = Math.abs((seat.x - from.x) * dy - (seat.y - from.y) * dx);
    const cost = ahead + 2.5 * aside;
    if (ahead > 1 && aside <= 3 * ahead && cost < least) [best, least] = [seat, cost];
  }
  return best;
}
