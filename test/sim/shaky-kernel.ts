/**
 * The dry kernel in a bad mood: it refuses, it reports success and does nothing, it shows what was a moment ago, and it loses its
 * notices or tells them late. The carrier behaves as FACTS has it on real ports: once a link event was told, the next ones wait
 * up to a second, unless somebody asks for the link itself.
 */
import { openDryKernel, type DryKernel } from '../../src/kernel/dry.js';
import { carryOut } from '../../src/kernel/door.js';
import type { Kernel, Watcher } from '../../src/ports.js';
import type { Change, KernelFacts, Link } from '../../src/model.js';
import { bare } from '../core/fixture.js';
import type { Agenda } from './agenda.js';
import type { Dice } from './dice.js';

export interface Moods {
  /** Why this change is not made; '' = it is. */
  refuse: (change: Change) => string;
  lieChance: number;
  /** Reads show the kernel as it was up to so long ago. */
  staleMs: number;
  loseChance: number;
  lateMs: number;
}

export interface ShakyKernel {
  readonly door: Pick<Kernel, 'readAll' | 'readOurs' | 'look' | 'apply' | 'watch'>;
  readonly moods: Moods;
  /** The hand of everybody else; notices go through the same bad mood. */
  readonly outside: DryKernel['outside'];
  /** As it really is. */
  truth(): KernelFacts;
  /** Moves the cable; the kernel notices in its own time. */
  cable(ifindex: number, plugged: boolean): void;
  isPlugged(ifindex: number): boolean;
  /** When it last refused, lied or was stale. */
  readonly dishonestAt: number;
  /** Called around each single change that is really made. */
  onChange: (change: Change, before: KernelFacts, after: KernelFacts) => void;
}

const LINKWATCH_MS = 1000;

export function openShakyKernel(seed: KernelFacts, agenda: Agenda, dice: Dice): ShakyKernel {
  const dry = openDryKernel(seed);
  const moods: Moods = { refuse: () => '', lieChance: 0, staleMs: 0, loseChance: 0, lateMs: 0 };
  const unplugged = new Set<number>();
  let shadow = { at: agenda.now, facts: dry.readAll() };
  let dishonestAt = -Infinity;
  let linkTellsAfter = -Infinity;

  function read(): KernelFacts {
    if (moods.staleMs > 0 && agenda.now - shadow.at < moods.staleMs) {
      dishonestAt = agenda.now;
      return shadow.facts;
    }
    shadow = { at: agenda.now, facts: dry.readAll() };
    return shadow.facts;
  }

  function make(change: Change): string {
    const refusal = moods.refuse(change);
    const lies = refusal === '' && dice.chance(moods.lieChance);
    if (refusal !== '' || lies) {
      dishonestAt = agenda.now;
      return refusal;
    }
    const before = dry.readAll();
    const error = dry.apply({ changes: [bare(change)] })[0]?.error ?? '';
    if (error === '') kernel.onChange(change, before, dry.readAll());
    return error;
  }

  /** The driver tells the kernel, which shows it when it gets round to it. */
  function reveal(ifindex: number): void {
    const link = dry.look([ifindex]).links[0];
    if (link === undefined || link.carrier !== unplugged.has(ifindex)) return;
    dry.outside.setLink({ ...link, carrier: !unplugged.has(ifindex) });
  }

  const kernel: ShakyKernel = {
    moods, outside: dry.outside, truth: () => dry.readAll(), onChange: () => undefined,
    isPlugged: (ifindex) => !unplugged.has(ifindex),
    get dishonestAt() {
      return dishonestAt;
    },
    cable(ifindex, plugged) {
      if (plugged) unplugged.delete(ifindex);
      else unplugged.add(ifindex);
      const shownAt = Math.max(agenda.now + 1, linkTellsAfter);
      linkTellsAfter = shownAt + LINKWATCH_MS;
      agenda.at(shownAt, () => reveal(ifindex));
    },
    door: {
      readAll: read,
      readOurs: () => {
        const { routes, rules } = read();
        return { routes, rules };
      },
      look(ifindexes) {
        for (const ifindex of ifindexes) reveal(ifindex);
        return dry.look(ifindexes);
      },
      apply: (plan) => carryOut(plan, make),
      watch: (tell) => dry.watch(grumpy(tell, moods, agenda, dice)),
    },
  };
  return kernel;
}

function grumpy(tell: Watcher, moods: Moods, agenda: Agenda, dice: Dice): Watcher {
  const later = (run: () => void): void => {
    if (dice.chance(moods.loseChance)) return;
    agenda.at(agenda.now + dice.between(0.05, 0.3 + moods.lateMs), run);
  };
  return {
    links: (links: readonly Link[], gone) => later(() => tell.links(links, gone)),
    again: (what) => later(() => tell.again(what)),
  };
}
