import { isDeepStrictEqual } from 'node:util'
import type { PriceVersion } from '../ledger/price.ts'

/** What an operator says of a price: the line for a model, a tier and a band of context. */
export type PriceDraft = Omit<PriceVersion, 'id' | 'effectiveFromMs' | 'effectiveToMs'>

/** When a price holds: from its first moment until before `untilMs`, or for ever. */
export interface Span {
  readonly fromMs: number
  readonly untilMs: number | null
}

/** What is done to the versions of one line. What a version says, and when it began, never changes: only when it ends. */
export interface LineChange {
  readonly ends: readonly { readonly version: PriceVersion; readonly atMs: number }[]
  readonly begins: readonly { readonly draft: PriceDraft; readonly span: Span }[]
}

/** What all versions of the same line say: "gpt-5 default 0". */
export function lineOf({ model, tier, contextOver }: Pick<PriceVersion, 'model' | 'tier' | 'contextOver'>): string {
  return `${model} ${tier} ${contextOver}`
}

/** Whether a version holds at that moment or will later. One that was withdrawn before it began does neither. */
export function isStanding({ effectiveFromMs, effectiveToMs }: PriceVersion, nowMs: number): boolean {
  return effectiveToMs === null || (effectiveToMs > nowMs && effectiveToMs > effectiveFromMs)
}

/**
 * Puts a price into a line, so that there is neither a gap nor an overlap that nobody asked for. `line` are its standing versions.
 *
 * Without `untilMs` the price holds until the next one that is planned already, because that one was somebody's decision too.
 * With it, what would have held afterwards holds again from then on, as a version of its own. A planned version that it covers
 * is withdrawn. A line that says all of this already is left as it is.
 */
export function placePrice(
  draft: PriceDraft,
  when: { fromMs: number; untilMs?: number | null },
  line: readonly PriceVersion[],
): LineChange {
  const { fromMs } = when
  const planned = line.map(version => version.effectiveFromMs).filter(ms => ms > fromMs)
  const untilMs = when.untilMs === undefined ? (planned.length === 0 ? null : Math.min(...planned)) : when.untilMs
  const covered = line.filter(version => version.effectiveFromMs < (untilMs ?? Infinity) && endOf(version) > fromMs)
  const [only, ...more] = covered
  const isSaid = only !== undefined && more.length === 0 && only.effectiveFromMs <= fromMs && endOf(only) >= (untilMs ?? Infinity)
  if (isSaid && isDeepStrictEqual(draftOf(only), draft)) return { ends: [], begins: [] }
  const after = covered.find(version => endOf(version) > (untilMs ?? Infinity))
  const resumed = after === undefined ? [] : [{ draft: draftOf(after), span: { fromMs: untilMs!, untilMs: after.effectiveToMs } }]
  return { ends: cut(covered, fromMs), begins: [{ draft, span: { fromMs, untilMs } }, ...resumed] }
}

/** Puts several prices into one line, one after the other, and says what comes of it all together. */
export function placeAll(
  prices: readonly { readonly draft: PriceDraft; readonly when: Parameters<typeof placePrice>[1] }[],
  line: readonly PriceVersion[],
): LineChange {
  const after = prices.reduce((versions, { draft, when }) => applied(placePrice(draft, when, versions), versions), line)
  const before = new Map(line.map(version => [version.id, version]))
  const began = after.filter(({ id, effectiveFromMs, effectiveToMs }) => !before.has(id) && effectiveToMs !== effectiveFromMs)
  return {
    ends: after.flatMap(({ id, effectiveToMs }) => {
      const version = before.get(id)
      return version === undefined || version.effectiveToMs === effectiveToMs ? [] : [{ version, atMs: effectiveToMs! }]
    }),
    begins: began.map(version => ({
      draft: draftOf(version),
      span: { fromMs: version.effectiveFromMs, untilMs: version.effectiveToMs },
    })),
  }
}

/** The line as it will be after a change. What begins has no id of its own yet. */
export function applied({ ends, begins }: LineChange, line: readonly PriceVersion[]): PriceVersion[] {
  const endings = new Map(ends.map(({ version, atMs }) => [version.id, atMs]))
  const ended = line.map(version => ({ ...version, effectiveToMs: endings.get(version.id) ?? version.effectiveToMs }))
  const begun = begins.map(({ draft, span }, nth) => ({
    ...{ ...draft, id: `new ${line.length + nth}`, effectiveFromMs: span.fromMs, effectiveToMs: span.untilMs },
  }))
  return [...ended, ...begun]
}

/** Ends a line: from `atMs` on nothing of it holds, and what was planned for later is withdrawn. */
export function endLine(line: readonly PriceVersion[], atMs: number): LineChange {
  return {
    ends: cut(
      line.filter(version => endOf(version) > atMs),
      atMs,
    ),
    begins: [],
  }
}

export function draftOf({ id: _, effectiveFromMs: __, effectiveToMs: ___, ...draft }: PriceVersion): PriceDraft {
  return draft
}

/** One that has not begun by then ends where it begins: it stays in the books, and never held. */
function cut(versions: readonly PriceVersion[], atMs: number): LineChange['ends'] {
  return versions.map(version => ({ version, atMs: Math.max(atMs, version.effectiveFromMs) }))
}

function endOf({ effectiveToMs }: PriceVersion): number {
  return effectiveToMs ?? Infinity
}
