/**
 * The kinds of field that a schema is made of, and the TypeScript type of what each yields.
 *
 * A schema is data: a `section` has keys, a `named` map has one section per name the operator invents, a `list` has
 * items, an `order` names uplinks, everything else is one value. `SettingsOf<typeof SCHEMA>` is what a valid file yields: every key optional,
 * durations in ms, nothing defaulted yet (defaults come last, after profile, file and uplink have been laid over
 * each other).
 */
import type { Family, GatewayPolicy, PolicyRank, PortRange } from '../model.js';

/** `live`: a reload puts a change in force. `restart`: only a new start of the daemon does. */
export type Apply = 'live' | 'restart';

/** The default is what the chosen `health.sensitivity` says. */
export interface FromPreset {
  readonly preset: 'intervalMs' | 'failures' | 'burst' | 'afterMs' | 'successes';
}

interface Described {
  /** For the reference: one sentence or a few, without the key's own name. */
  readonly about: string;
  /** Other words that people know for it, from other tools: unknown keys of that name are pointed here. */
  readonly alsoCalled?: readonly string[];
}

interface ValueField extends Described {
  readonly apply: Apply;
}

export interface DurationField extends ValueField {
  readonly type: 'duration';
  readonly minMs: number;
  readonly maxMs: number;
  /** The word `auto` is a value too. */
  readonly auto?: true;
  readonly default?: number | 'auto' | FromPreset;
}

export interface IntegerField extends ValueField {
  readonly type: 'integer';
  readonly min: number;
  readonly max: number;
  /** What is counted, where there is a unit. */
  readonly unit?: string;
  /** Words that are values too. */
  readonly words?: readonly string[];
  readonly default?: number | FromPreset | string;
  readonly required?: true;
}

/** `20%`; yields the number before the sign. */
export interface PercentField extends ValueField {
  readonly type: 'percent';
  readonly min: number;
  readonly max: number;
  readonly default?: number;
}

/** A number that may have a fraction. */
export interface DecimalField extends ValueField {
  readonly type: 'decimal';
  readonly min: number;
  readonly max: number;
  readonly default: number;
}

/** `5MB`, in powers of 1000; or the word `none`. Yields bytes. */
export interface SizeField extends ValueField {
  readonly type: 'size';
  readonly minBytes: number;
  readonly maxBytes: number;
}

/** One host of either family. */
export interface AddressField extends ValueField {
  readonly type: 'address';
  /** What it is, with its article: `a DNS server`. */
  readonly what: string;
  readonly required?: true;
}

export interface FlagField extends ValueField {
  readonly type: 'flag';
  readonly default: boolean;
}

export interface ChoiceField extends ValueField {
  readonly type: 'choice';
  readonly of: readonly string[];
  /** Values of the documented contract that this version cannot do. */
  readonly later?: readonly string[];
  readonly default?: string;
}

/** One value with rules of its own (values.ts). `default` is written as in a file; where there is none, `about` says what absence means. */
export interface SpecialField extends ValueField {
  readonly type:
    | 'profile' | 'interface' | 'mac' | 'path' | 'target' | 'network' | 'listen' | 'mask' | 'label' | 'set' | 'ports' | 'mark'
    | 'endpoint' | 'hostname' | 'url' | 'header' | 'program' | 'text';
  readonly default?: string;
  readonly required?: true;
  /** A sibling that may be written in place of it. */
  readonly orElse?: string;
}

/** A network of IPv6. `auto`: the word is a value too. */
export interface PrefixField extends ValueField {
  readonly type: 'prefix';
  readonly auto?: true;
  readonly default?: string;
}

/** One value that is about addresses of one family. */
export interface FamilyField extends ValueField {
  readonly type: 'gateway' | 'translation';
  readonly family: Family;
  /** The key that is the same for the other family. */
  readonly other: string;
  readonly default?: string;
}

/** Names of uplinks by preference: a list of them, or of maps NAME: weight that share a rank; or one such map. */
export interface OrderField extends ValueField {
  readonly type: 'order';
  readonly required: true;
}

export interface ListField extends ValueField {
  readonly type: 'list';
  readonly item: Field;
  readonly least: number;
  readonly most: number;
  /** One value alone is a list of one. */
  readonly single?: true;
  /** As written in a file; where there is none, `about` says what absence means. */
  readonly default?: string;
}

export interface SectionField extends Described {
  readonly type: 'section';
  readonly keys: { readonly [key: string]: Field };
  /** One key at a time: an item of a list that could hold several kinds. */
  readonly one?: true;
  /** A value in place of the section stands for this key. */
  readonly short?: string;
  /** Not accepted, but mostly meant by a value in place of the section. */
  readonly main?: string;
  /** The word `off` in place of the section is a value too. */
  readonly off?: true;
  /** One of the keys at least must be written. */
  readonly some?: true;
  /** As an item of a list: how one may be written. */
  readonly example?: string;
  /** The same keys as that section, for one uplink alone. */
  readonly like?: string;
  /** Keys of the documented contract that this version does not know, and what to do instead. */
  readonly later?: { readonly [key: string]: string };
}

export interface NamedField extends Described {
  readonly type: 'named';
  readonly item: SectionField;
  readonly most: number;
  readonly required?: true;
}

export type LeafField =
  | DurationField | IntegerField | PercentField | DecimalField | SizeField | FlagField | ChoiceField | SpecialField | PrefixField | AddressField | FamilyField;
export type Field = LeafField | OrderField | ListField | SectionField | NamedField;

export interface Listen {
  readonly host: string;
  readonly port: number;
}

/** An address and a port. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

/** A header of HTTP: `name` in lower case. */
export interface HeaderSetting {
  readonly name: string;
  readonly value: string;
}

/** A mark of somebody else; without a mask all bits count that are not ours. */
export interface MarkSetting {
  readonly value: number;
  readonly mask: number | undefined;
}

/** What a valid field yields. */
export type SettingsOf<F> =
  F extends { readonly type: 'duration'; readonly auto: true } ? number | 'auto'
  : F extends { readonly type: 'integer'; readonly words: readonly (infer Word)[] } ? number | Word
  : F extends { readonly type: 'duration' | 'integer' | 'percent' | 'decimal' | 'mask' } ? number
  : F extends { readonly type: 'size' } ? number | 'none'
  : F extends { readonly type: 'flag' } ? boolean
  : F extends { readonly type: 'choice'; readonly of: readonly (infer Choice)[] } ? Choice
  : F extends { readonly type: 'gateway' } ? GatewayPolicy
  : F extends { readonly type: 'translation'; readonly family: 4 } ? boolean | { readonly address: string }
  : F extends { readonly type: 'translation' } ? boolean | 'prefix' | { readonly address: string }
  : F extends { readonly type: 'listen' } ? Listen
  : F extends { readonly type: 'ports' } ? PortRange
  : F extends { readonly type: 'mark' } ? MarkSetting
  : F extends { readonly type: 'order' } ? readonly PolicyRank[]
  : F extends { readonly type: 'endpoint' } ? Endpoint
  : F extends { readonly type: 'header' } ? HeaderSetting
  : F extends { readonly type: SpecialField['type'] | 'prefix' | 'address' } ? string
  : F extends { readonly type: 'list'; readonly item: infer Item } ? readonly SettingsOf<Item>[]
  : F extends { readonly type: 'section'; readonly off: true; readonly keys: infer Keys } ? 'off' | { readonly [K in keyof Keys]?: SettingsOf<Keys[K]> | undefined }
  : F extends { readonly type: 'section'; readonly keys: infer Keys } ? { readonly [K in keyof Keys]?: SettingsOf<Keys[K]> | undefined }
  : F extends { readonly type: 'named'; readonly item: infer Item } ? ReadonlyMap<string, SettingsOf<Item>>
  : never;
