/**
 * Shares, sizes and numbers with a fraction: from the text that was written to the number that is meant, or to what is
 * wrong with it and what to write instead. Pure.
 */
import type { DecimalField, PercentField, SizeField } from './fields.js';
import { shown } from './problem.js';
import type { Read } from './values.js';

export function readPercent(field: PercentField, text: string): Read<number> {
  const [, digits, sign] = /^(\d{1,3}(?:\.\d{1,3})?)\s?(%?)$/.exec(text) ?? [];
  if (digits === undefined) return { wrong: `${shown(text)} is not ${percentTakes()}` };
  // 0.2 is what other tools write for a fifth, and `0.2%` is a hundredth of it: only one of the two can be meant.
  if (sign === '') return { wrong: `${shown(text)} has no \`%\`: write ${shown(percentText(fraction(digits)))}` };
  if (/\s/.test(text)) return { wrong: `write ${shown(`${digits}%`)}, without a space` };
  const value = Number(digits);
  if (value < field.min) return { wrong: `${shown(text)} is too little: ${shown(percentText(field.min))} at least` };
  if (value > field.max) return { wrong: `${shown(text)} is too much: ${shown(percentText(field.max))} at most` };
  return { value };
}

export function percentTakes(): string {
  return 'a percentage such as `20%`';
}

/** `20%`, `0.5%` */
export function percentText(percent: number): string {
  return `${percent}%`;
}

export function readDecimal(field: DecimalField, text: string): Read<number> {
  if (!/^\d{1,6}(\.\d{1,3})?$/.test(text)) return { wrong: `${shown(text)} is not ${decimalTakes(field)}` };
  const value = Number(text);
  if (value < field.min || value > field.max) return { wrong: `${shown(text)} is too ${value < field.min ? 'small' : 'large'}: write ${decimalTakes(field)}` };
  return { value };
}

export function decimalTakes({ min, max }: DecimalField): string {
  return `a number from ${min} to ${max}`;
}

export function readSize(field: SizeField, text: string): Read<number | 'none'> {
  if (text === 'none') return { value: 'none' };
  if (/^(off|no|false|unlimited|infinite|never)$/i.test(text)) return { wrong: `write \`none\`, not ${shown(text)}` };
  const [, digits, space, unit = ''] = /^(\d{1,12}(?:\.\d{1,3})?)(\s?)([A-Za-z]*)$/.exec(text) ?? [];
  if (digits === undefined) return { wrong: `${shown(text)} is not ${sizeTakes()}` };
  if (unit === '') return { wrong: `${shown(text)} has no unit: write ${shown(Number(digits) < 10_000 ? `${digits}MB` : sizeText(Number(digits)))}, for instance` };
  const known = SIZES.find(([name]) => name === unit);
  const meant = SIZES.find(([name]) => name.toLowerCase() === unit.toLowerCase().replace(/^([kmgt])(i?b(ytes?)?)?$/, '$1b'));
  if (known === undefined || space !== '') return { wrong: `${shown(text)} is not a size: write ${meant === undefined ? sizeTakes() : shown(`${digits}${meant[0]}`)}` };
  const bytes = Math.round(Number(digits) * known[1]);
  if (bytes < field.minBytes) return { wrong: `${shown(text)} is too little: ${shown(sizeText(field.minBytes))} at least, or \`none\` for no limit` };
  if (bytes > field.maxBytes) return { wrong: `${shown(text)} is too much: ${shown(sizeText(field.maxBytes))} at most, or \`none\` for no limit` };
  return { value: bytes };
}

export function sizeTakes(): string {
  return 'a size such as `5MB` or `500kB`, or `none`';
}

/** `5MB`, `1.5GB`, `0.2kB` */
export function sizeText(bytes: number): string {
  const [name, unitBytes] = SIZES.find(([, least]) => bytes >= least) ?? ['kB', 1000];
  return `${bytes / unitBytes}${name}`;
}

/** SI, as providers bill. */
const SIZES: readonly (readonly [name: string, bytes: number])[] = [['TB', 1e12], ['GB', 1e9], ['MB', 1e6], ['kB', 1e3]];

function fraction(digits: string): number {
  const value = Number(digits);
  return value > 0 && value < 1 ? Math.round(value * 100_000) / 1000 : value;
}
