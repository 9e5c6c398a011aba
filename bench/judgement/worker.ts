/** Plays the seeds that it is given, one after the other; as many of these run as there are cores. */
import { parentPort } from 'node:worker_threads';
import { play } from './play.js';

parentPort?.on('message', (seed: number) => parentPort?.postMessage(play(seed)));
