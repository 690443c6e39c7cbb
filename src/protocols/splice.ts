import type { CallFacts, FieldSpan } from './protocol.ts'

/** New values of top-level fields, by name. Only those that are not undefined are touched. */
export type Changes = Readonly<Record<string, string | number | object | undefined>>

/**
 * The body with its changes, as slices to be sent one after the other. A field that stands in the body has its value replaced
 * where it stands, another is put first; every other byte is the client's own, and not copied.
 */
export function spliceBody(body: Buffer, facts: Place, changes: Changes): Buffer[] {
  return cut(body, fieldCuts(facts, changes))
}

/** Where a body's fields stand. */
type Place = Pick<CallFacts, 'fields' | 'insertAt' | 'isEmptyObject'>

/** The cuts that `spliceBody` makes. */
export function fieldCuts(facts: Place, changes: Changes): Cut[] {
  const cuts: Cut[] = []
  const added: string[] = []
  for (const name in changes) {
    const value = changes[name]
    if (value === undefined) continue
    const span = facts.fields[name]
    if (span === undefined) added.push(`"${name}":${JSON.stringify(value)}`)
    else cuts.push({ start: span.valueStart, end: span.valueEnd, text: JSON.stringify(value) })
  }
  if (added.length > 0)
    cuts.push({ start: facts.insertAt, end: facts.insertAt, text: `${added.join(',')}${facts.isEmptyObject ? '' : ','}` })
  return cuts
}

/** Takes a member out of its object, with its name and one comma. */
export function memberCut(bytes: Buffer, { valueStart, valueEnd }: FieldSpan): Cut {
  // Backwards: the colon, the name's closing quote, and its opening one. A name that has quotes in it is none that we look for.
  const nameStart = bytes.lastIndexOf(0x22, bytes.lastIndexOf(0x22, bytes.lastIndexOf(0x3a, valueStart - 1)) - 1)
  const before = lastSolid(bytes, nameStart - 1)
  if (bytes[before] === 0x2c) return { start: before, end: valueEnd, text: '' }
  let after = valueEnd
  while (isBlank(bytes[after])) after++
  return { start: nameStart, end: bytes[after] === 0x2c ? after + 1 : valueEnd, text: '' }
}

function lastSolid(bytes: Buffer, from: number): number {
  let at = from
  while (isBlank(bytes[at])) at--
  return at
}

function isBlank(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09
}

/** What a `content-length` must say. */
export function byteLengthOf(slices: readonly Buffer[]): number {
  let bytes = 0
  for (const { length } of slices) bytes += length
  return bytes
}

/** Bytes from `start` to `end` that give way to `text`. */
export interface Cut {
  readonly start: number
  readonly end: number
  readonly text: string
}

/** The bytes with each cut made, as slices. Cuts must not overlap; their order does not matter. */
export function cut(bytes: Buffer, cuts: readonly Cut[]): Buffer[] {
  if (cuts.length === 0 && bytes.length > 0) return [bytes]
  const slices: Buffer[] = []
  let from = 0
  for (const { start, end, text } of cuts.toSorted((a, b) => a.start - b.start)) {
    if (start > from) slices.push(bytes.subarray(from, start))
    slices.push(Buffer.from(text))
    from = end
  }
  if (from < bytes.length) slices.push(bytes.subarray(from))
  return slices
}
