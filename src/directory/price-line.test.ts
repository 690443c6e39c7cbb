import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { openPriceBook, type PriceVersion } from '../ledger/price.ts'
import { applied, draftOf, endLine, isStanding, placeAll, placePrice } from './price-line.ts'

describe('a price is put into its line', () => {
  /** Versions that stand, as rate@from-to; what is placed; and what holds from then on. `-` is for ever. */
  const cases = `
    (none)            | 7@10    now 10 | 7@10-          the first one
    5@0-              | 7@10    now 10 | 5@0-10 7@10-   the running one ends in that moment
    5@0-              | 7@50    now 10 | 5@0-50 7@50-   or later, when the new one is planned for later
    5@0-              | 5@10    now 10 | 5@0-           the same again changes nothing
    5@0-              | 5@50    now 10 | 5@0-           nor does planning what holds anyway
    5@0-              | 7@50-90 now 10 | 5@0-50 7@50-90 5@90-   what held before holds again after a price for some time
    5@0-              | 7@10-90 now 10 | 5@0-10 7@10-90 5@90-
    (none)            | 7@10-90 now 10 | 7@10-90
    5@0-50 6@50-      | 7@10    now 10 | 5@0-10 7@10-50 6@50-   what is planned stays planned
    5@0-50 6@50-      | 7@50    now 10 | 5@0-50 7@50-   until it is planned otherwise
    5@0-50 6@50-      | 7@10-*  now 10 | 5@0-10 7@10-   or covered: for ever, whatever is planned
    5@0-50 6@50-      | 7@20-70 now 10 | 5@0-20 7@20-70 6@70-
    5@0-50 6@50-90 8@90- | 7@20-95 now 10 | 5@0-20 7@20-95 8@95-
    5@0-50 6@70-      | 7@55    now 10 | 5@0-50 7@55-70 6@70-   a gap that somebody made is filled up to the next
    5@0-50            | 7@60    now 10 | 5@0-50 7@60-
    5@0-50            | 5@10    now 10 | 5@0-10 5@10-   what was to end does not, once it is set again
    5@10-             | 7@10    now 10 | 7@10-          two in one millisecond: the later one holds
  `
  test.each(lines(cases))('%s', line => {
    const [before, what, after] = line.split('|').map(part => part.trim())
    const [, placed, now] = /^(\S+)\s+now (\d+)$/.exec(what!)!
    const { span, draft } = spanOf(placed!)
    const change = placePrice(draft, span, before === '(none)' ? [] : before!.split(' ').map(versionOf))
    const left = applied(change, before === '(none)' ? [] : before!.split(' ').map(versionOf))
    expect(textOf(left.filter(version => isStanding(version, Number(now)) || version.effectiveToMs! > version.effectiveFromMs))).toBe(
      after!.replace(/ {2,}.*$/, ''),
    )
  })

  test('several at once are one change, with nothing between them', () => {
    const prices = ['7@10-50', '8@50-', '9@10'].map(text => ({ draft: spanOf(text).draft, when: spanOf(text).span }))
    const line = [versionOf('5@0-')]
    expect(textOf(applied(placeAll(prices.slice(0, 2), line), line))).toBe('5@0-10 7@10-50 8@50-')
    expect(textOf(applied(placeAll(prices, line), line))).toBe('5@0-10 9@10-50 8@50-')
  })

  test('ended, it holds no more, and what was planned is withdrawn', () => {
    const before = ['5@0-50', '6@50-90', '7@95-'].map(versionOf)
    const left = applied(endLine(before, 70), before)
    expect(textOf(left)).toBe('5@0-50 6@50-70 7@95-95')
    expect(left.filter(version => isStanding(version, 70))).toEqual([])
  })
})

test('whatever is set and ended in whatever order: one price at most at any time, and what is over stays as it was', () => {
  const moment = fc.integer({ min: 0, max: 40 })
  const deed = fc.record({
    wait: fc.integer({ min: 0, max: 10 }),
    later: moment,
    lasts: fc.option(fc.integer({ min: 1, max: 40 }), { nil: undefined }),
    forEver: fc.boolean(),
    rate: fc.bigInt({ min: 1n, max: 3n }),
    ends: fc.nat(9).map(n => n === 0),
  })
  fc.assert(
    fc.property(fc.array(deed, { maxLength: 12 }), deeds => {
      let versions: PriceVersion[] = []
      let nowMs = 0
      for (const { wait, later, lasts, forEver, rate, ends } of deeds) {
        nowMs += wait
        const fromMs = nowMs + later
        const line = versions.filter(version => isStanding(version, nowMs))
        const until = lasts === undefined ? (forEver ? { untilMs: null } : {}) : { untilMs: fromMs + lasts }
        const draft = draftOf(versionOf(`${rate}@0-`))
        const before = versions
        versions = applied(ends ? endLine(line, fromMs) : placePrice(draft, { fromMs, ...until }, line), versions)
        for (let atMs = 0; atMs < 250; atMs++) {
          const holding = holdingAt(versions, atMs)
          const [held] = holdingAt(before, atMs)
          const broken = [
            holding.length > 1 && 'two prices at once',
            atMs < nowMs && holding[0]?.id !== held?.id && 'another past',
            !ends && held !== undefined && holding.length === 0 && 'a gap that nobody asked for',
            !ends && atMs === fromMs && holding[0]?.input !== rate && 'not what was set',
            atMs < fromMs && holding[0]?.input !== held?.input && 'a change too early',
            !ends && lasts !== undefined && atMs >= fromMs + lasts && holding[0]?.input !== held?.input && 'a change that lasts too long',
            ends && atMs >= fromMs && holding.length > 0 && 'a price after its end',
          ].find(rule => rule !== false)
          if (broken !== undefined) throw new Error(`${broken}, at ${atMs}`)
        }
        const book = openPriceBook(versions)
        const atMs = nowMs + later
        expect(book.find({ model: 'm', tier: 'default', contextTokens: 1, atMs })).toBe(holdingAt(versions, atMs)[0])
      }
    }),
    { numRuns: 150, seed: 4 },
  )
})

function holdingAt(versions: readonly PriceVersion[], atMs: number): PriceVersion[] {
  return versions.filter(version => version.effectiveFromMs <= atMs && atMs < (version.effectiveToMs ?? Infinity))
}

/** "7@10-90"; "7@10-" has no end, and "7@10" says of none. */
function spanOf(text: string): { draft: ReturnType<typeof draftOf>; span: { fromMs: number; untilMs?: number | null } } {
  const [, from, until] = /^\d+@(\d+)(?:-(\d+|\*)?)?$/.exec(text)!
  const span = until === undefined ? {} : { untilMs: until === '*' ? null : Number(until) }
  return { draft: draftOf(versionOf(text)), span: { fromMs: Number(from), ...span } }
}

function versionOf(text: string): PriceVersion {
  const [, rate, from, to] = /^(\d+)@(\d+)(?:-(\d+)?)?/.exec(text)!
  return {
    ...{ id: text, model: 'm', tier: 'default', contextOver: 0, input: BigInt(rate!), cached: 0n, cacheWrite: 0n, cacheWrite12h: 0n },
    ...{ output: 0n, webSearch: null, fileSearch: null, maxOutput: null, aliases: [], source: null },
    ...{ effectiveFromMs: Number(from), effectiveToMs: to === undefined ? null : Number(to) },
  }
}

function textOf(versions: readonly PriceVersion[]): string {
  return versions
    .filter(({ effectiveFromMs, effectiveToMs }) => effectiveFromMs !== effectiveToMs || versions.length < 4)
    .toSorted((a, b) => a.effectiveFromMs - b.effectiveFromMs)
    .map(({ input, effectiveFromMs, effectiveToMs }) => `${input}@${effectiveFromMs}-${effectiveToMs ?? ''}`)
    .join(' ')
}

function lines(table: string): string[] {
  return table
    .trim()
    .split('\n')
    .map(line => line.trim())
}
