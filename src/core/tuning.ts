/** Numbers that more than one room needs, each with its unit and why it has this value. */

/**
 * Between two probes of a burst, ms: an eighth of the timeout, within these bounds. Closer than `least`, the targets that limit their answers drop some;
 * beyond `most` a burst of three would take longer than the timeout of a line that is near.
 */
export const BURST_GAP_MS = { least: 5, most: 50 } as const;
