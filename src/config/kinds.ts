import { BlockList, isIP } from 'node:net'
import { resolve } from 'node:path'

/** One line of the settings table: what it is called comes from its place there. */
export interface Setting<V> {
  readonly kind: Kind
  /** In words, for people: "milliseconds". Null for what has none. */
  readonly unit: string | null
  /** What it does, in sentences. */
  readonly about: string
  /** What a right value looks like, so that a wrong one can be put right: "a whole number of bytes from 1 to 10". */
  readonly takes: string
  readonly initial: V
  /** Undefined is a value that it does not take. Relative paths start at `cwd`. */
  parse(text: string, cwd: string): V | undefined
  /** The text that `parse` reads back, or null for nothing. */
  show(value: V): string | null
}

export type Kind = 'integer' | 'integers' | 'text' | 'choice' | 'path' | 'address' | 'url' | 'networks' | 'secret'

/** Where to listen. Port 0 is any free port. */
export interface Address {
  readonly host: string
  readonly port: number
}

interface Range {
  readonly min?: number
  readonly max?: number
  /** 0 is taken too, though it is below `min`: it stands for something else. */
  readonly orZero?: boolean
}

/** Longer than a day nobody waits; a Node timer above 2³¹ − 1 ms fires at once. */
const longestMs = 86_400_000
const mostBytes = 8 * 1024 ** 3

export function ms(initial: number, about: string, { min = 1, max = longestMs }: Range = {}): Setting<number> {
  return integer({ unit: 'milliseconds', initial, about, min, max })
}

export function bytes(initial: number, about: string, { min = 1, max = mostBytes }: Range = {}): Setting<number> {
  return integer({ unit: 'bytes', initial, about, min, max })
}

/** A whole number of things: `unit` is their plural. */
export function count(
  initial: number,
  unit: string,
  about: string,
  { min = 0, max = 1_000_000_000, orZero = false }: Range = {},
): Setting<number> {
  return integer({ unit, initial, about, min, max, orZero })
}

export function percent(initial: number, about: string): Setting<number> {
  return integer({ unit: 'percent', initial, about, min: 0, max: 100 })
}

/** One duration after the other, such as rests that grow. Written with commas, or as a YAML list. */
export function msList(initial: readonly number[], about: string): Setting<readonly number[]> {
  const each = { min: 1, max: longestMs }
  return {
    kind: 'integers',
    unit: 'milliseconds',
    about,
    takes: `whole numbers of milliseconds from ${each.min} to ${each.max}, with commas between them`,
    initial,
    parse(text) {
      const numbers = text.split(',').map(part => wholeNumber(part.trim(), each))
      return numbers.every(number => number !== undefined) ? numbers : undefined
    },
    show: numbers => numbers.join(','),
  }
}

/** Trimmed; blank is none. */
export function text(about: string): Setting<string> {
  return {
    kind: 'text',
    unit: null,
    about,
    takes: 'a text',
    initial: '',
    parse: written => written.trim(),
    show: value => value || null,
  }
}

/** Never a flag, because others on the machine can read a command line; never printed. */
export function secret(about: string, { takes, pattern }: { readonly takes: string; readonly pattern: RegExp }): Setting<string | null> {
  return {
    kind: 'secret',
    unit: null,
    about,
    takes,
    initial: null,
    parse: written => (pattern.test(written) ? written : undefined),
    show: value => value,
  }
}

export function choice<const C extends string>(choices: readonly C[], initial: NoInfer<C>, about: string): Setting<C> {
  return {
    kind: 'choice',
    unit: null,
    about,
    takes: `one of ${choices.join(', ')}`,
    initial,
    parse: written => choices.find(one => one === written),
    show: value => value,
  }
}

export function path<V extends string | null>(initial: V, about: string): Setting<V | string> {
  return {
    kind: 'path',
    unit: null,
    about,
    takes: 'a path, which may be relative to the folder that you are in',
    initial,
    parse: (written, cwd) => (written.includes('\0') ? undefined : resolve(cwd, written)),
    show: value => value,
  }
}

export function address(initial: Address, about: string): Setting<Address> {
  return {
    kind: 'address',
    unit: null,
    about,
    takes: 'a host and a port, such as 127.0.0.1:8080 or [::1]:8080',
    initial,
    parse(written) {
      const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]/]+)):(\d{1,5})$/.exec(written)
      const host = match?.[1] ?? match?.[2]
      const port = Number(match?.[3])
      if (host === undefined || port > 65_535 || (match?.[1] !== undefined && isIP(host) !== 6)) return undefined
      return { host, port }
    },
    show: ({ host, port }) => (host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`),
  }
}

/** An HTTP address without a slash at its end. */
export function url(initial: string, about: string): Setting<string> {
  return {
    kind: 'url',
    unit: null,
    about,
    takes: 'an http or https URL, such as http://127.0.0.1:8080',
    initial,
    parse(written) {
      const parsed = URL.parse(written)
      if (parsed === null || !/^https?:$/.test(parsed.protocol) || parsed.search !== '' || parsed.hash !== '') return undefined
      if (parsed.username !== '' || parsed.password !== '') return undefined
      return parsed.href.replace(/\/+$/, '')
    },
    show: value => value,
  }
}

/** Addresses and CIDR ranges. */
export function networks(about: string): Setting<readonly string[]> {
  return {
    kind: 'networks',
    unit: null,
    about,
    takes: 'addresses or CIDR ranges such as 10.0.0.0/8, with commas between them',
    initial: [],
    parse(written) {
      const parts = written.split(',').map(part => part.trim())
      return parts.every(isNetwork) ? parts : undefined
    },
    show: parts => (parts.length === 0 ? null : parts.join(',')),
  }
}

interface Integer {
  readonly unit: string
  readonly initial: number
  readonly about: string
  readonly min: number
  readonly max: number
  readonly orZero?: boolean
}

function integer(shape: Integer): Setting<number> {
  const { unit, initial, about, min, max, orZero = false } = shape
  return {
    kind: 'integer',
    unit,
    about,
    takes: `${orZero ? '0, or ' : ''}a whole number of ${unit} from ${min} to ${max}`,
    initial,
    parse: written => (orZero && written === '0' ? 0 : wholeNumber(written, shape)),
    show: String,
  }
}

function wholeNumber(written: string, { min, max }: { min: number; max: number }): number | undefined {
  if (!/^\d{1,15}$/.test(written)) return undefined
  const number = Number(written)
  return number >= min && number <= max ? number : undefined
}

function isNetwork(written: string): boolean {
  const [host = '', bits, ...more] = written.split('/')
  const family = isIP(host)
  if (family === 0 || host.includes('%') || more.length > 0) return false
  if (bits === undefined) return true
  if (!/^\d{1,3}$/.test(bits) || Number(bits) > (family === 4 ? 32 : 128)) return false
  // The list that will match addresses must accept it too; what it refuses would otherwise end the program later.
  new BlockList().addSubnet(host, Number(bits), family === 4 ? 'ipv4' : 'ipv6')
  return true
}
