/**
 * What the schemas of the REST API are written with: the type of the values that a schema describes, and short words for its members.
 */

/** The type of the values that a schema describes. */
export type Shape<S> = S extends { readonly enum: readonly (infer E)[] }
  ? E
  : S extends { readonly type: readonly (infer T)[] }
    ? Typed<T, S>
    : S extends { readonly type: infer T }
      ? Typed<T, S>
      : never;

type Typed<T, S> = T extends 'string'
  ? string
  : T extends 'number' | 'integer'
    ? number
    : T extends 'boolean'
      ? boolean
      : T extends 'null'
        ? null
        : T extends 'array'
          ? S extends { readonly items: infer I }
            ? readonly Shape<I>[]
            : never
          : S extends { readonly properties: infer P; readonly required: readonly (infer R)[] }
            ? { readonly [K in keyof P & R]: Shape<P[K]> } & { readonly [K in Exclude<keyof P, R>]?: Shape<P[K]> }
            : never;

export const text = (description: string) => ({ type: 'string', description }) as const;
export const whole = (description: string) => ({ type: 'integer', description }) as const;
export const number = (description: string) => ({ type: 'number', description }) as const;
export const yesNo = (description: string) => ({ type: 'boolean', description }) as const;
export const time = (description: string) => ({ type: 'string', format: 'date-time', description }) as const;
export const list = <const I>(items: I, description: string) => ({ type: 'array', items, description }) as const;
export const orNull = <const T extends 'string' | 'number' | 'integer' | 'boolean'>(type: T, description: string) => ({ type: [type, 'null'] as const, description }) as const;
export const timeOrNull = (description: string) => ({ type: ['string', 'null'], format: 'date-time', description }) as const;
export const family = { type: 'integer', enum: [4, 6], description: 'IPv4 or IPv6' } as const;

/** The query of a call that takes none. */
export const noQuery = { type: 'object', additionalProperties: false, required: [], properties: {} } as const;
