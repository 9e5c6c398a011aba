/** One storm as a story: the weather, and what each contestant made of it, in order of time. */
import type { Sensitivity } from './ours.js';
import { contestants } from './play.js';
import { activeAt, isFalse } from './score.js';
import { CALM_MS, drawStorm } from './storm.js';

export function narrate(seed: number, sensitivities: readonly Sensitivity[], tell: (line: string) => void): void {
  const storm = drawStorm(seed);
  const nameOf = (line: number): string => storm.lines[line]?.name ?? 'none';
  const lines = storm.lines.map(({ name, base, metered }) => `${name} (${base.rttMs.toFixed(0)} ms, ${(100 * base.loss).toFixed(2)} % loss${metered ? ', metered' : ''})`);
  tell(`seed ${seed}: ${(storm.lengthMs / 60_000).toFixed(0)} minutes, ${lines.join(', ')}, ${storm.flows.length} connections\n`);
  const story: { readonly at: number; readonly text: string }[] = [];
  for (const { name, line, from, to } of storm.spells) story.push({ at: from, text: `*** ${line === undefined ? '' : `${nameOf(line)}: `}${name} for ${((to - from) / 1000).toFixed(1)} s` });
  for (const contestant of contestants(sensitivities)) {
    const trace = contestant.play(storm);
    for (const { at, line, because } of trace.changes) {
      const left = activeAt(trace.changes, at, 'before');
      story.push({ at, text: `    ${contestant.name}: ${nameOf(line)}${at > CALM_MS && isFalse(storm, left, line, at) ? '  FALSE' : ''}${because === undefined ? '' : `  (${because})`}` });
    }
    for (const { at, line } of trace.cuts) story.push({ at, text: `    ${contestant.name}: cuts what is on ${nameOf(line)}` });
  }
  story.sort((a, b) => a.at - b.at);
  for (const { at, text } of story) tell(`${(at / 1000).toFixed(2).padStart(9)} s ${text}`);
  tell('');
}
