import { afterAll, beforeAll, expect, test } from 'vitest'
import { openBooks } from '../ledger/books.fixture.ts'
import { parseDecimal, parseUsd } from '../ledger/money.ts'
import { openPriceBook, type PriceVersion } from '../ledger/price.ts'
import { newId } from '../lib/id.ts'
import { openSqlite } from '../storage/sqlite.ts'
import { type Amounts, countByDay, noAmounts, type Pricing } from './counted.ts'
import { type AttemptRow, type CallRow, callSteps, noUsage } from './record.ts'

const dayMs = 86_400_000
const startMs = Date.UTC(2026, 9, 1)

const rates = {
  input: parseUsd('2'),
  cached: parseUsd('0.2'),
  cacheWrite: parseUsd('2'),
  cacheWrite12h: parseUsd('2'),
  output: parseUsd('10'),
}
const lines = { tier: 'default', contextOver: 0, webSearch: null, fileSearch: null, maxOutput: null, source: null }
const version = (id: string, model: string, fromMs: number): PriceVersion => ({
  ...{ ...lines, ...rates, id, model, effectiveFromMs: fromMs, effectiveToMs: null },
  aliases: model === 'sim' ? ['sim-2026-03-05'] : [],
})
const versions = [version('p1', 'sim', 0), { ...version('p0', 'sim', 0), input: parseUsd('4'), effectiveToMs: 1 }]
const pricing: Pricing = {
  versions: new Map(versions.map(one => [one.id, one])),
  book: openPriceBook(versions),
  multiplierOf: id => ({ dear: parseDecimal('1.5'), free: parseDecimal('0') })[id],
  mayHaveCost: fault => fault !== 'limited',
}

let books: Awaited<ReturnType<typeof openBooks>>
beforeAll(async () => {
  books = await openBooks(openSqlite)
})
afterAll(() => books[Symbol.asyncDispose]())

async function add(atMs: number, change: Partial<CallRow> = {}, attempts: readonly Partial<AttemptRow>[] = []): Promise<void> {
  const id = newId(atMs)
  const row: CallRow = {
    ...{ id, userId: 'u', keyId: 'k', groupId: 'dear', accountId: 'a', path: '/v1/responses', stream: true, requestedModel: 'sim' },
    ...{ servedModel: 'sim', tier: 'default', priceId: 'p1', status: 200, ended: 'completed', fault: null, basis: 'reported' },
    ...{
      usage: { ...noUsage, inputTokens: 10, cachedTokens: 4, outputTokens: 1 },
      held: 300n,
      cost: 1n,
      uncollectedWhy: null,
      attempts: attempts.length,
    },
    ...{
      lineMs: 0,
      firstTokenMs: 1,
      durationMs: 2,
      address: '',
      userAgent: null,
      instructionsAdded: false,
      outputLoweredTo: null,
      repaired: null,
    },
    ...{ upstreamRequestId: null, beganAtMs: atMs, ...change },
  }
  const rows = attempts.map((attempt, index) => ({
    ...{ callId: id, number: index + 1, accountId: 'a', model: 'sim', beganAtMs: atMs, status: 200, fault: null, firstEventMs: null },
    ...{ durationMs: 1, upstreamRequestId: null, answered: true, ...attempt },
  }))
  await books.database.commit(callSteps(row, rows), 'ordered')
}

/** In pages of every size alike. */
async function count(sinceMs: number, untilMs: number) {
  const found = await countByDay(books.database, { sinceMs, untilMs }, pricing)
  for (const rows of [1, 2]) expect(await countByDay(books.database, { sinceMs, untilMs }, pricing, rows)).toEqual(found)
  return found
}

/** 6 fresh, 4 cached and 1 output token: 12,000 + 800 + 10,000 nano-dollars. */
const one: Amounts = { requests: 1n, inputTokens: 10n, cachedTokens: 4n, outputTokens: 1n, cost: 22_800n }

test('a call is counted on the day of UTC on which it began, at the version that it names, without the multiplier', async () => {
  await add(startMs - 1)
  await add(startMs, { servedModel: 'sim-2026-03-05' })
  await add(startMs + dayMs - 1, { priceId: 'p0' })
  await add(startMs + dayMs)
  const day = { accountId: 'a', model: 'sim', dayStartsAtMs: startMs }
  const both = { requests: 2n, inputTokens: 20n, cachedTokens: 8n, outputTokens: 2n, cost: 22_800n + 34_800n }
  expect(await count(startMs, startMs + dayMs)).toMatchObject([{ ...day, reported: both }])
  expect((await count(startMs - dayMs, startMs + 2 * dayMs)).map(({ dayStartsAtMs, reported }) => [dayStartsAtMs, reported])).toEqual([
    [startMs - dayMs, one],
    [startMs, both],
    [startMs + dayMs, one],
  ])
})

test('what nobody knows for certain is counted apart, with what was held for it', async () => {
  const atMs = startMs + 10 * dayMs
  const none: Partial<CallRow> = { basis: 'none', usage: noUsage, priceId: null }
  await add(atMs, { basis: 'drained' })
  await add(atMs, { basis: 'estimated', ended: 'cut' }, [{ fault: 'stream_cut' }])
  await add(atMs, none, [{}])
  await add(atMs, { ...none, status: 502, fault: 'upstream_failed' }, [
    { answered: false, fault: 'limited' },
    { answered: false, fault: 'reset' },
  ])
  await add(atMs, { ...none, status: 400 }, [{ answered: false }])
  await add(atMs, {}, [{ accountId: 'b', answered: false, fault: 'body_cut' }, {}])
  await add(atMs, { ...none, ended: 'gateway_died', accountId: null })
  await add(atMs, { ...none, ended: 'gateway_died', accountId: null, requestedModel: 'alias' })
  await add(atMs, { priceId: null, servedModel: 'unheard-of', groupId: 'free', basis: 'estimated' })
  const found = await count(atMs, atMs + dayMs)
  const atMost = { count: 1n, atMost: 200n } // 300 at a multiplier of 1.5.
  const nothing = { count: 0n, atMost: 0n }
  const day = {
    dayStartsAtMs: atMs,
    silent: nothing,
    attempts: nothing,
    died: nothing,
    unpriced: 0n,
    reported: noAmounts,
    drained: noAmounts,
  }
  const rest = { ...day, estimated: noAmounts, estimatedAtMost: 0n }
  expect(new Map(found.map(({ accountId, model, ...parts }) => [`${accountId} ${model}`, parts]))).toEqual(
    new Map([
      ['a sim', { ...rest, reported: one, drained: one, estimated: one, estimatedAtMost: 200n, silent: atMost, attempts: atMost }],
      ['b sim', { ...rest, attempts: atMost }],
      ['null sim', { ...rest, died: atMost }],
      ['null null', { ...rest, died: atMost }],
      ['a unheard-of', { ...rest, estimated: { ...one, cost: 0n }, estimatedAtMost: null, unpriced: 1n }],
    ]),
  )
})
