/**
 * How uplinkctl reads what came from the other end. That may be another version, or not uplinkd at all: what is missing reads as
 * unknown, and every text is freed from characters that would move the cursor, colour the screen or turn the line around.
 * Nothing that came from the other end reaches a terminal but through here.
 */

/** Without control characters, line and paragraph separators, and those that turn the direction of writing. */
export function plain(sent: string): string {
  return sent.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, '�');
}

export function isObject(sent: unknown): sent is Readonly<Record<string, unknown>> {
  return typeof sent === 'object' && sent !== null && !Array.isArray(sent);
}

export function member(sent: unknown, key: string): unknown {
  return isObject(sent) && Object.hasOwn(sent, key) ? sent[key] : undefined;
}

export function text(sent: unknown, key: string): string {
  const value = member(sent, key);
  return typeof value === 'string' ? plain(value) : '';
}

export function texts(sent: unknown, key: string): string[] {
  return onlyTexts(items(sent, key));
}

export function onlyTexts(values: readonly unknown[]): string[] {
  return values.flatMap((value) => (typeof value === 'string' ? [plain(value)] : []));
}

/** A text of several lines, such as the contents of a file. */
export function lines(sent: unknown, key: string): string[] {
  const value = member(sent, key);
  return typeof value === 'string' && value !== '' ? value.replace(/\n+$/, '').split('\n').map(codeLine) : [];
}

/** Lines of a program's language, which may be indented. */
export function code(sent: unknown, key: string): string[] {
  return items(sent, key).flatMap((value) => (typeof value === 'string' ? [codeLine(value)] : []));
}

export function items(sent: unknown, key: string): readonly unknown[] {
  const value = member(sent, key);
  return Array.isArray(value) ? value : [];
}

export function number(sent: unknown, key: string): number {
  const value = member(sent, key);
  return typeof value === 'number' ? value : Number.NaN;
}

export function yes(sent: unknown, key: string): boolean {
  return member(sent, key) === true;
}

export function time(sent: unknown, key: string): number {
  const value = member(sent, key);
  return typeof value === 'string' ? Date.parse(value) : Number.NaN;
}

function codeLine(sent: string): string {
  return plain(sent.replaceAll('\t', '    '));
}
