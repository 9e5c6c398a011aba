/** Which version this is. Two levels above the compiled file in either place: dist/src and, bundled, dist/bin. */
import { readFileSync } from 'node:fs';

/** From package.json, such as `0.3.0`. */
export function ownVersion(): string {
  const own: unknown = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  return typeof own === 'object' && own !== null && 'version' in own ? String(own.version) : 'unknown';
}
