import { expect, test } from 'vitest'
import { type Amounts, type Counted, noAmounts, nothingCounted } from './counted.ts'
import { type Figure, reconcile } from './reconcile.ts'

const place = { accountId: 'a', model: 'm', dayStartsAtMs: 0 }
const amounts = (requests: bigint, tokens: bigint, cost: bigint): Amounts => ({
  ...noAmounts,
  requests,
  inputTokens: tokens,
  outputTokens: tokens,
  cost,
})
const counted = (change: Partial<Counted> = {}): Counted => ({ ...nothingCounted(place), reported: amounts(2n, 100n, 1_000n), ...change })
const figure = (requests: bigint | null, tokens: bigint, cost: bigint | null): Figure => ({
  ...place,
  requests,
  inputTokens: tokens,
  cachedTokens: null,
  outputTokens: tokens,
  cost,
})

/** Ours, theirs, the verdict, and the last cause. Nano-dollars; 1,000 are 0.000001 USD. */
const cases: readonly (readonly [string, Partial<Counted>, Figure[], string, string?])[] = [
  ['the same', {}, [figure(2n, 100n, 1_000n)], 'agrees'],
  ['the same in two figures', {}, [figure(1n, 40n, 400n), figure(1n, 60n, 600n)], 'agrees'],
  ['only tokens, the same', {}, [figure(null, 100n, null)], 'agrees'],
  ['a request more', {}, [figure(3n, 100n, 1_000n)], 'unexplained', 'unexplained: 1 request that we never saw'],
  ['a request less', {}, [figure(1n, 100n, 1_000n)], 'unexplained', 'unexplained: 1 call of ours that they do not count'],
  ['more tokens', {}, [figure(2n, 101n, 1_000n)], 'unexplained', 'unexplained: 1 input tokens more than ours'],
  ['fewer tokens', {}, [figure(null, 90n, null)], 'unexplained', 'unexplained: 10 input tokens fewer than ours'],
  [
    'a nano-dollar',
    {},
    [figure(2n, 100n, 1_001n)],
    'unexplained',
    'unexplained: the same tokens at another price, 0.000000001 USD apart; compare',
  ],
  ['no figure', {}, [], 'unexplained', 'unexplained: 2 calls of ours that they do not count'],
  ['drained calls count as reported ones', { drained: amounts(1n, 10n, 50n) }, [figure(3n, 110n, 1_050n)], 'agrees'],
  ['no price', { unpriced: 1n }, [figure(2n, 100n, 9_000n)], 'explained', '1 call without a price in the book'],

  [
    'an attempt that they count',
    { attempts: { count: 1n, atMost: 500n } },
    [figure(3n, 150n, 1_500n)],
    'explained',
    '1 attempt without an answer, at most 0.0000005 USD',
  ],
  ['one that they do not', { attempts: { count: 1n, atMost: 500n } }, [figure(2n, 100n, 1_000n)], 'agrees'],
  [
    'one that cost too much',
    { attempts: { count: 1n, atMost: 500n } },
    [figure(3n, 150n, 1_501n)],
    'unexplained',
    'unexplained: 0.000000501 USD is more than these can be worth',
  ],
  [
    'one, of which nobody knows',
    { attempts: { count: 1n, atMost: null } },
    [figure(3n, 150n, 9_999n)],
    'explained',
    '1 attempt without an answer',
  ],
  [
    'one, and two requests more',
    { attempts: { count: 1n, atMost: 500n } },
    [figure(4n, 150n, 1_500n)],
    'unexplained',
    'unexplained: 1 request that we never saw',
  ],
  [
    'an attempt takes no tokens away',
    { attempts: { count: 1n, atMost: 500n } },
    [figure(2n, 99n, 1_000n)],
    'unexplained',
    'unexplained: 1 input tokens fewer than ours',
  ],
  [
    'an attempt does not make the same tokens cheaper',
    { attempts: { count: 1n, atMost: 500n } },
    [figure(2n, 100n, 900n)],
    'unexplained',
    'unexplained: the same tokens at another price, -0.0000001 USD apart',
  ],
  [
    'an answer without usage',
    { silent: { count: 2n, atMost: 500n } },
    [figure(4n, 150n, 1_400n)],
    'explained',
    '2 answers that said no usage, at most 0.0000005 USD',
  ],

  [
    'an estimate too low',
    { estimated: amounts(1n, 10n, 100n), estimatedAtMost: 300n },
    [figure(3n, 130n, 1_300n)],
    'explained',
    '1 estimated call worth 0.0000001 USD, at most 0.0000003 USD',
  ],
  [
    'beyond what was held',
    { estimated: amounts(1n, 10n, 100n), estimatedAtMost: 300n },
    [figure(3n, 130n, 1_301n)],
    'unexplained',
    'unexplained: 0.000000201 USD is more than these can be worth',
  ],
  ['an estimate for nothing', { estimated: amounts(1n, 10n, 100n), estimatedAtMost: 300n }, [figure(2n, 100n, 1_000n)], 'explained'],
  [
    'less than without it',
    { estimated: amounts(1n, 10n, 100n), estimatedAtMost: 300n },
    [figure(2n, 100n, 999n)],
    'unexplained',
    'unexplained: 0.000000101 USD less, which is more than the estimates are worth',
  ],
]

test.for(cases)('%s', ([, change, figures, verdict, last]) => {
  const lines = reconcile([counted(change)], figures, { roundedTo: 0n })
  expect(lines).toHaveLength(1)
  expect(lines[0]!.verdict).toBe(verdict)
  if (verdict === 'agrees') expect(lines[0]!.causes).toEqual([])
  if (last !== undefined) expect(lines[0]!.causes.at(-1)).toContain(last)
})

test('a cost that they round may be apart by its last decimal, once for each figure', () => {
  const verdict = (figures: Figure[]) => reconcile([counted()], figures, { roundedTo: 10n })[0]!.verdict
  expect(verdict([figure(2n, 100n, 1_010n)])).toBe('agrees')
  expect(verdict([figure(2n, 100n, 1_011n)])).toBe('unexplained')
  expect(verdict([figure(1n, 40n, 400n), figure(1n, 60n, 620n)])).toBe('agrees')
})

test('a call whose gateway died may be of any account, of its model and its day', () => {
  const died = (change: Partial<Counted>) => ({ ...nothingCounted(place), accountId: null, died: { count: 1n, atMost: 500n }, ...change })
  const verdict = (change: Partial<Counted>) => reconcile([counted(), died(change)], [figure(3n, 150n, 1_400n)], { roundedTo: 0n })
  expect(verdict({})).toMatchObject([{ verdict: 'explained', causes: ['1 call whose gateway died, at most 0.0000005 USD'] }])
  expect(verdict({ model: null })).toMatchObject([{ verdict: 'explained' }])
  expect(verdict({ model: 'other' })).toMatchObject([{ verdict: 'unexplained' }])
  expect(verdict({ dayStartsAtMs: 86_400_000 })).toMatchObject([{ verdict: 'unexplained' }])
})

test('attempts that nobody answered and nobody counts make no line', () => {
  const only = { ...counted({ attempts: { count: 1n, atMost: 500n } }), reported: noAmounts }
  expect(reconcile([only], [], { roundedTo: 0n })).toEqual([])
})
