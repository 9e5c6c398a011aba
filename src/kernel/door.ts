/**
 * What kernel.ts does on Linux and dry.ts in memory: the port `Kernel`, a survey for the doctor, and the order in which both carry out a plan.
 */
import type { ChangeFailure, Plan } from '../model.js';
import type { Kernel } from '../ports.js';
import type { Survey } from './netlink/survey.js';

export interface Door extends Kernel {
  /** What others have put into routing beside us. */
  survey(): Survey;
}

/**
 * The order in which both carry out a plan.
 * @param change makes one change; '' = done, else why not
 */
export function carryOut(plan: Plan, change: (change: Plan['changes'][number]) => string): readonly ChangeFailure[] {
  const undone = new Set<number>();
  const failures: ChangeFailure[] = [];
  plan.changes.forEach((wanted, index) => {
    if (wanted.needs !== undefined && undone.has(wanted.needs)) {
      undone.add(index);
      return;
    }
    const error = change(wanted);
    if (error === '') return;
    undone.add(index);
    failures.push({ index, change: wanted, error });
  });
  return failures;
}
