/** Does one job after the other; as many of these run as there are cores. */
import { parentPort } from 'node:worker_threads';
import type { Sensitivity } from './ours.js';
import { play, type Played } from './play.js';
import { QUESTIONS, type Answer } from './special.js';

/** A storm by its seed, or a single question by its number. */
export type Job = { readonly seed: number; readonly sensitivities: readonly Sensitivity[] } | { readonly question: number };
export type Outcome = { readonly played: Played } | { readonly question: number; readonly answers: readonly Answer[] };

parentPort?.on('message', (job: Job) => parentPort?.postMessage(work(job)));

function work(job: Job): Outcome {
  return 'seed' in job ? { played: play(job.seed, job.sensitivities) } : { question: job.question, answers: QUESTIONS[job.question]!() };
}
