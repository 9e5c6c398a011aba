/**
 * What would change, as lines for people: for each place (a chain) the longest run of rules that stays is found; the others are
 * shown with `- ` or `+ ` and their place in front.
 */

/** Rules by place, in order. */
export type Places = ReadonlyMap<string, readonly string[]>;

/** @param alike the spelling by which rules are compared */
export function difference(standing: Places, wished: Places, alike: (rule: string) => string = (rule) => rule): readonly string[] {
  const places = [...new Set([...standing.keys(), ...wished.keys()])];
  return places.flatMap((place) => changes(standing.get(place) ?? [], wished.get(place) ?? [], alike).map(({ sign, rule }) => `${sign} ${place} ${rule}`));
}

function changes(before: readonly string[], after: readonly string[], alike: (rule: string) => string): { readonly sign: '+' | '-'; readonly rule: string }[] {
  const [old, now] = [before.map(alike), after.map(alike)];
  // stays[i][j]: how many rules of old from i and of now from j can stay.
  const stays = Array.from({ length: old.length + 1 }, () => new Uint16Array(now.length + 1));
  for (let i = old.length - 1; i >= 0; i--) {
    for (let j = now.length - 1; j >= 0; j--) stays[i]![j] = old[i] === now[j] ? stays[i + 1]![j + 1]! + 1 : Math.max(stays[i + 1]![j]!, stays[i]![j + 1]!);
  }
  const found: { sign: '+' | '-'; rule: string }[] = [];
  let [i, j] = [0, 0];
  while (i < old.length || j < now.length) {
    if (i < old.length && j < now.length && old[i] === now[j]) [i, j] = [i + 1, j + 1];
    else if (j === now.length || (i < old.length && stays[i + 1]![j]! >= stays[i]![j + 1]!)) found.push({ sign: '-', rule: before[i++]! });
    else found.push({ sign: '+', rule: after[j++]! });
  }
  return found;
}
