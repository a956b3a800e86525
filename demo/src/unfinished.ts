/**
 * Closes what the end of a growing text has left open, so that `**bold` is drawn bold at once instead of changing when
 * its closing stars arrive, and a link is its text until its address is complete.
 */
export function completeMarkup(text: string): string {
  const link = text.match(/\[([^\][]*)(\]\([^)\s]*)?$/);
  const shown = (link ? text.slice(0, link.index) + link[1] : text).replace(/(?<=^|\s)[*_~]+$/, "");
  const paragraph = shown.slice(shown.lastIndexOf("\n\n") + 1);
  if (count(paragraph, /`/g) % 2 === 1) return `${shown.trimEnd()}\``;
  const prose = paragraph.replace(/`[^`]*`/g, "x");
  const open = markers.find(({ opening, closing }) => count(prose, opening) > count(prose, closing));
  return open ? shown.trimEnd() + open.marker : shown;
}

/** A marker opens before a word and closes after one; between two spaces it is a star like any other. */
const markers = [
  { marker: "**", opening: /(?<![\w*])\*\*(?=[^\s*])/g, closing: /(?<=[^\s*])\*\*(?![\w*])/g },
  { marker: "*", opening: /(?<![\w*])\*(?=[^\s*])/g, closing: /(?<=[^\s*])\*(?![\w*])/g },
  { marker: "~~", opening: /(?<![\w~])~~(?=[^\s~])/g, closing: /(?<=[^\s~])~~(?![\w~])/g },
];

const count = (text: string, what: RegExp) => text.match(what)?.length ?? 0;
