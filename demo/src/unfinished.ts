/**
 * Closes what the end of a growing text has left open, so that `**bold` is drawn bold at once instead of changing when
 * its closing stars arrive, and a link is its text until its address is complete.
 */
export function completeMarkup(text: string): string {
  const line = text.slice(text.lastIndexOf("\n\n") + 1);
  if (count(line, /`/g) % 2 === 1) return `${text.trimEnd()}\``;
  const prose = line.replace(/`[^`]*`/g, "");

  const link = text.match(/\[([^\][]*)\]\([^)\s]*$/) ?? text.match(/\[([^\][]*)$/);
  const complete = link ? text.slice(0, link.index) + link[1] : text;

  if (/\*+$|_+$|~+$/.test(complete)) return complete.replace(/(?<=^|\s)[*_~]+$/, "");
  if (count(prose, /\*\*/g) % 2 === 1) return `${complete.trimEnd()}**`;
  if (count(prose.replace(/\*\*/g, "").replace(/^\s*\*\s/gm, ""), /\*/g) % 2 === 1) return `${complete.trimEnd()}*`;
  if (count(prose, /~~/g) % 2 === 1) return `${complete.trimEnd()}~~`;
  return complete;
}

const count = (text: string, what: RegExp) => text.match(what)?.length ?? 0;
