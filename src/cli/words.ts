import { InvalidArgumentError } from 'commander'

/** Readers of what stands on a command line. Commander puts the option's name before what they throw. */

export function wholeNumber(text: string): number {
  if (!/^-?\d{1,12}$/.test(text)) throw new InvalidArgumentError('It takes a whole number.')
  return Number(text)
}

export function positiveNumber(text: string): number {
  if (!/^\d{1,12}$/.test(text) || Number(text) === 0) throw new InvalidArgumentError('It takes a whole number above 0.')
  return Number(text)
}

/** What takes something away: sent as null. Commander would make an empty text of a null of ours. */
export const none = { toJSON: () => null }

type OrNone<T> = T | typeof none

/** A limit that may also be taken away. */
export function wholeNumberOrNone(text: string): OrNone<number> {
  if (text === 'none') return none
  if (!/^\d{1,12}$/.test(text)) throw new InvalidArgumentError('It takes a whole number, or none.')
  return Number(text)
}

export function textOrNone(text: string): OrNone<string> {
  return text === 'none' ? none : text
}

/** Decimal text, kept as text: money and prices are never floats. */
export function decimal(text: string): string {
  if (!/^\d{1,12}(\.\d{1,18})?$/.test(text)) throw new InvalidArgumentError('It takes a decimal number such as 2.50.')
  return text
}

export function decimalOrNone(text: string): OrNone<string> {
  return text === 'none' ? none : decimal(text)
}

/** For an option that may be given several times. */
export function collect(text: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), text]
}

/** `label=account`; the label may have an equals sign in it, an account's name may not. */
export function collectName(text: string, before: Readonly<Record<string, string>> | undefined): Readonly<Record<string, string>> {
  const at = text.lastIndexOf('=')
  if (at < 1 || at === text.length - 1) throw new InvalidArgumentError('It takes label=account, such as proj_abc=openai.')
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) }
}

/** `requested=upstream`, or a name that stays as it is; `none` alone empties the table. */
export function collectModel(text: string, before: Readonly<Record<string, string>> | undefined): Readonly<Record<string, string>> {
  if (text === 'none') return {}
  const [requested = '', upstream = requested, ...more] = text.split('=')
  if (requested === '' || upstream === '' || more.length > 0) {
    throw new InvalidArgumentError('It takes a model, or requested=upstream, such as gpt-5=my-deployment.')
  }
  return { ...before, [requested]: upstream }
}

/** A point in time, as RFC 3339: itself, a date (its first moment in UTC), or how long ago: 90s, 30m, 24h, 7d. */
export function since(nowMs: number): (text: string) => string {
  return text => {
    const ago = /^(\d{1,6})([smhd])$/.exec(text)
    if (ago !== null) return new Date(nowMs - Number(ago[1]) * msOf[ago[2]!]!).toISOString()
    try {
      return time(text)
    } catch {
      throw new InvalidArgumentError('It takes a time such as 24h, 7d, 2026-01-31 or 2026-01-31T12:00:00Z.')
    }
  }
}

/** RFC 3339, or a date alone. */
export function time(text: string): string {
  const isTime = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d))?$/i.test(text)
  const date = new Date(text)
  // JavaScript takes the 30th of February for the 2nd of March.
  const isDay = isTime && new Date(`${text.slice(0, 10)}T00:00:00Z`).getUTCDate() === Number(text.slice(8, 10))
  if (!isDay || Number.isNaN(date.getTime())) throw new InvalidArgumentError('It takes a time such as 2026-01-31 or 2026-01-31T12:00:00Z.')
  return date.toISOString()
}

/** RFC 3339, a date alone, or none. */
export function timeOrNone(text: string): OrNone<string> {
  return text === 'none' ? none : time(text)
}

const msOf: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }
