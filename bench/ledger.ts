import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { cpus, release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { CallEnd } from '../src/gateway/books.ts'
import type { HoldRequest } from '../src/ledger/steps.ts'
import { newId } from '../src/lib/id.ts'
import { statement } from '../src/storage/database.ts'
import { type CallRow, noUsage } from '../src/usage/record.ts'
import { type Ground, leaseId, openGround } from './books.ts'
import { fileSystemOf, syncs, timeSyncs } from './disk.ts'
import { median, percentile, shown, tableOf } from './figures.ts'

/**
 * How many calls the books can take: hold + settle, with the call's row and its attempt, through the same two doors as the gateway's
 * own calls, and as durable. README.md beside this file says how to read what it prints.
 */
const groups = [1, 10, 50, 500]
const manyWallets = 1_000
const rounds = 5
const runMs = 1_000
const warmUpMs = 400
const syncsPerRound = 100

/** Nano-dollars. */
const want = 50_000_000n
const cost = 12_345_678n

interface Shape {
  readonly wallets: number
  readonly inFlight: number
}

/** Of one run. */
interface Figures {
  readonly pairsPerSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly mainMicros: number
  readonly workerMicros: number
  readonly mainBusy: number
  readonly workerBusy: number
  readonly syncsPerPair: number
}

/** In a folder of its own there, which is gone afterwards. */
async function measureIn(parent: string, databaseUrl: string | undefined): Promise<void> {
  const fileSystem = fileSystemOf(parent)
  const folder = mkdtempSync(join(parent, 'headgate-bench-'))
  // SQLite's thread keeps the program alive only while a command runs, not while it is asked for its CPU time.
  const alive = setInterval(() => {}, 60_000)
  try {
    await measureAll(folder, fileSystem, databaseUrl)
  } finally {
    clearInterval(alive)
    rmSync(folder, { recursive: true })
  }
}

async function measureAll(folder: string, fileSystem: string, databaseUrl: string | undefined): Promise<void> {
  await using ground = await openGround(folder, manyWallets, databaseUrl)
  // Beyond that, on a machine that the server shares, charges take so long that they go to the journal.
  const asked = databaseUrl === undefined ? groups : groups.slice(0, -1)
  const shapes = [manyWallets, 1].flatMap(wallets => asked.map(inFlight => ({ wallets, inFlight })))
  console.log(`${cpus().length} cores of ${cpus()[0]?.model}, Linux ${release()}, Node ${process.version}, ${fileSystem}`)
  console.log(`${ground.engine}; ${rounds} rounds of ${runMs / 1000} s a line, one line after another\n`)
  let pairs = 0
  for (const shape of shapes) pairs += (await run(ground, shape, warmUpMs)).pairs
  const bare = { fdatasync: [] as number[], fsync: [] as number[] }
  const byShape = shapes.map((): Figures[] => [])
  for (let round = 0; round < rounds; round += 1) {
    bare.fdatasync.push(...timeSyncs(folder, syncs.fdatasync, syncsPerRound))
    bare.fsync.push(...timeSyncs(folder, syncs.fsync, syncsPerRound))
    for (const [index, shape] of shapes.entries()) {
      const { figures, pairs: more } = await run(ground, shape, runMs)
      byShape[index]!.push(figures)
      pairs += more
    }
  }
  console.log(
    tableOf(
      head,
      shapes.map((shape, index) => lineOf(shape, byShape[index]!)),
    ),
  )
  console.log('\nThe disk alone, a page appended and synced, between the rounds:')
  for (const [name, took] of Object.entries(bare)) {
    const p50 = median(took)
    console.log(`one bare ${name}: p50 ${shown(p50)} ms, p99 ${shown(percentile(took, 99))} ms, so ${shown(1000 / p50)} a second`)
  }
  await expectBalanced(ground, pairs)
  console.log(`${pairs.toLocaleString('en')} pairs in all; every one is on the books once, and the books balance`)
}

const head = [
  ...['wallets', 'in flight', 'pairs/s', 'least to most', 'p50 ms', 'p99 ms'],
  ...['main µs', 'worker µs', 'main busy', 'worker busy', 'syncs/pair'],
]

function lineOf({ wallets, inFlight }: Shape, runs: readonly Figures[]): string[] {
  const all = (name: keyof Figures) => runs.map(figures => figures[name])
  const one = (name: keyof Figures) => shown(median(all(name)))
  const measured = (value: number, text: string) => (Number.isNaN(value) ? shown(value) : text)
  const percent = (name: keyof Figures) => measured(median(all(name)), `${Math.round(median(all(name)) * 100)} %`)
  const syncs = median(all('syncsPerPair'))
  const speeds = all('pairsPerSecond')
  return [
    ...[String(wallets), String(inFlight), one('pairsPerSecond'), `${shown(Math.min(...speeds))} to ${shown(Math.max(...speeds))}`],
    ...[one('p50Ms'), one('p99Ms'), one('mainMicros'), one('workerMicros')],
    ...[percent('mainBusy'), percent('workerBusy'), measured(syncs, syncs.toFixed(3))],
  ]
}

/** So many calls at a time, each of which holds, then settles, then makes room for the next. */
async function run(ground: Ground, { wallets, inFlight }: Shape, ms: number): Promise<{ figures: Figures; pairs: number }> {
  const { worker } = ground
  const took: number[] = []
  const before = { main: process.threadCpuUsage(), worker: await worker?.cpuUsage(), syncs: ground.syncs() }
  const loops = { main: performance.eventLoopUtilization(), worker: worker?.performance.eventLoopUtilization() }
  const startedMs = performance.now()
  async function lane(): Promise<void> {
    for (let beganMs = performance.now(); beganMs - startedMs < ms; beganMs = performance.now()) {
      await pair(ground, ground.walletIds[took.length % wallets]!)
      took.push(performance.now() - beganMs)
    }
  }
  await Promise.all(Array.from({ length: inFlight }, lane))
  const seconds = (performance.now() - startedMs) / 1000
  const mainBusy = performance.eventLoopUtilization(loops.main).utilization
  const workerBusy = worker?.performance.eventLoopUtilization(loops.worker).utilization ?? Number.NaN
  const main = process.threadCpuUsage(before.main)
  const thread = await worker?.cpuUsage(before.worker)
  const pairs = took.length
  const figures = {
    ...{ pairsPerSecond: pairs / seconds, p50Ms: percentile(took, 50), p99Ms: percentile(took, 99), mainBusy, workerBusy },
    mainMicros: (main.user + main.system) / pairs,
    workerMicros: thread === undefined ? Number.NaN : (thread.user + thread.system) / pairs,
    syncsPerPair: (ground.syncs() - before.syncs) / pairs,
  }
  return { figures, pairs }
}

async function pair({ ledger, books }: Ground, walletId: string): Promise<void> {
  const request = requestOf(newId(Date.now()), walletId)
  const held = await ledger.hold(request)
  assert('granted' in held && held.granted === want, 'the hold was not granted whole')
  await books.end(endOf(request))
}

function requestOf(callId: string, walletId: string): HoldRequest {
  const who = { userId: walletId, keyId: `key-of-${walletId}`, groupId: 'group-1', address: '192.0.2.1' }
  const what = { model: 'gpt-5.4', path: '/v1/responses', stream: true, beganAtMs: Date.now() }
  return { callId, funds: { kind: 'wallet', walletId }, floor: cost, want, halfOfFree: false, leaseId, ...who, ...what }
}

/** What the gateway writes of an ordinary call that one account answered. */
function endOf(request: HoldRequest): CallEnd {
  const { callId, funds, userId, keyId, groupId, model, path, stream, address, beganAtMs } = request
  const usage = { ...noUsage, inputTokens: 2_400, cachedTokens: 2_048, outputTokens: 310, reasoningTokens: 128 }
  const upstreamRequestId = `req_${callId}`
  const atMs = Date.now()
  const asked = { userId, keyId, groupId, path, stream, address, requestedModel: model, beganAtMs, userAgent: 'OpenAI/JS 6.49.0' }
  const served = { accountId: 'account-1', servedModel: model, tier: 'default', priceId: 'price-1', upstreamRequestId }
  const times = { lineMs: 0, firstTokenMs: 412, durationMs: 3_120 }
  const changes = { instructionsAdded: false, outputLoweredTo: null, repaired: null }
  const money = { usage, held: want, cost, uncollectedWhy: null, attempts: 1 }
  const ending: Pick<CallRow, 'ended' | 'basis' | 'status' | 'fault'> = { ended: 'completed', basis: 'reported', status: 200, fault: null }
  const row: CallRow = { id: callId, ...asked, ...served, ...times, ...changes, ...money, ...ending }
  const how = { status: 200, fault: null, firstEventMs: 411, durationMs: 411, upstreamRequestId, answered: true }
  const attempt = { callId, number: 1, accountId: 'account-1', model, beganAtMs, ...how }
  return { callId, funds, call: request, charge: { cost, entryId: newId(atMs), atMs }, row, attempts: [attempt] }
}

/** A figure of books that lost or doubled something would be none. */
async function expectBalanced({ ledger, books, database }: Ground, pairs: number): Promise<void> {
  assert.equal(books.owed, 0, 'some charges took so long that they went to the journal')
  assert.deepEqual(await ledger.check(), [], 'the books do not balance')
  const [counted] = await database.report(countAll)
  assert.deepEqual(counted, { calls: BigInt(pairs), attempts: BigInt(pairs), charges: BigInt(pairs) })
}

const countAll = statement(`select (select count(*) from calls) as calls, (select count(*) from attempts) as attempts,
  (select count(*) from entries where kind = 'charge') as charges`)

const { values: said } = parseArgs({ options: { folder: { type: 'string', default: tmpdir() }, database: { type: 'string' } } })
try {
  await measureIn(said.folder, said.database)
} catch (error) {
  console.error(`bench:ledger: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
}
