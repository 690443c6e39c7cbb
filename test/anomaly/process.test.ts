import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openLedger } from '../../src/ledger/ledger.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { type Database, type Row, statement } from '../../src/storage/database.ts'
import { openSqlite } from '../../src/storage/sqlite.ts'
import { openStream, send, type Target } from '../client.ts'
import { openWorld, until, type World, type WorldOptions } from '../world.ts'
import { startGateway } from './gateway-process.ts'

/** The books of a world whose own gateway has stopped: a process of its own is to go on with them. */
async function leaveBooks(options: WorldOptions = {}): Promise<World & { readonly data: string }> {
  const world = await openWorld(options)
  await world.headgate.stop()
  return { ...world, data: join(world.folder, 'data') }
}

async function withBooks<Result>(data: string, look: (database: Database) => Promise<Result>): Promise<Result> {
  const database = await openSqlite(join(data, 'headgate.db'))
  try {
    return await look(database)
  } finally {
    await database.close()
  }
}

const select = (database: Database, sql: string) => database.report(statement(sql))

const kills = process.env.HEADGATE_TEST_FULL ? 40 : 3
const inFlight = 20
const leaseMs = 1_000

test(`killed under load ${kills} times, it loses nothing that a client saw complete`, { timeout: 60_000 + kills * 10_000 }, async () => {
  await using world = await leaveBooks({ user: { concurrency: 0 }, accounts: [{ concurrency: 0 }], balance: '1000' })
  // Some calls are short, some are long enough to be in the middle of everything.
  world.sim.script({}, [{}, { betweenEventsMs: 3 }, { firstEventAfterMs: 20 }, {}, { deltas: 20, betweenEventsMs: 2 }])
  const complete = new Map<string, string>()
  for (let kill = 0; kill < kills; kill += 1) {
    await using gateway = await startGateway(world.data, { leaseMs, leaseRenewMs: 300 })
    const enough = complete.size + 60 + kill * 7
    const load = underLoad({ url: gateway.url, key: world.key }, complete)
    await until(() => complete.size >= enough, 'the load is not served')
    gateway.child.kill('SIGKILL')
    await gateway.exit
    load.stop()
    await load.stopped
  }
  // The folder is free at once: the next one starts on it. Within a lease of that nothing is held any more.
  await using last = await startGateway(world.data, { leaseMs, leaseRenewMs: 300 })
  await withBooks(world.data, database =>
    until(async () => (await select(database, `select 1 as one from holds where state = 'held'`)).length === 0, 'money is still held'),
  )
  last.child.kill('SIGTERM')
  expect(await last.exit).toBe(0)

  await withBooks(world.data, async database => {
    expect(await openLedger(database, systemClock).check()).toEqual([])
    const rows = new Map((await select(database, 'select * from calls')).map(row => [row.id, row]))
    const charges = chargesByCall(await select(database, `select reference, amount from entries where kind = 'charge'`))
    for (const [callId, responseId] of complete) {
      const line = world.sim.invoice.find(one => one.responseId === responseId)!
      expect(rows.get(callId)).toMatchObject({ ended: 'completed', basis: 'reported', cost: line.costNanos, uncollected: 0n })
      expect(charges.get(callId)).toEqual([-line.costNanos])
    }
    const died = [...rows.values()].filter(({ ended }) => ended === 'gateway_died')
    expect(died.length).toBeGreaterThan(0)
    for (const { cost, basis } of died) expect({ cost, basis }).toEqual({ cost: 0n, basis: 'none' })
    console.log(
      `${kills} kills, ${complete.size} answers seen complete, ${rows.size} rows, of them ${died.length} of calls whose gateway died`,
    )
  })
  expect(statSync(join(world.data, 'owed.journal')).size).toBe(0)
  expect(existsSync(join(world.data, 'owed.journal.damaged'))).toBe(false)
})

function chargesByCall(entries: readonly Row[]): Map<string, bigint[]> {
  const found = new Map<string, bigint[]>()
  for (const { reference, amount } of entries) found.set(reference as string, [...(found.get(reference as string) ?? []), amount as bigint])
  return found
}

/** Calls without end, half of them streams. `complete` gets the id of each call that was seen whole, with its response's id. */
function underLoad(target: Target, complete: Map<string, string>) {
  let isOver = false
  async function work(worker: number): Promise<void> {
    for (let call = worker; !isOver; call += 1)
      await (call % 2 === 0 ? oneJson(target, complete) : oneStream(target, complete)).catch(() => undefined) // The gateway was killed: that is no answer.
  }
  const stopped = Promise.all(Array.from({ length: inFlight }, (_, worker) => work(worker)))
  return { stopped, stop: () => void (isOver = true) }
}

async function oneJson(target: Target, complete: Map<string, string>): Promise<void> {
  const { status, ending, headers, json } = await send(target)
  if (status === 200 && ending === 'whole') complete.set(headers['x-request-id'] as string, json.id as string)
}

async function oneStream(target: Target, complete: Map<string, string>): Promise<void> {
  await using open = openStream(target)
  const { headers } = await open.begun
  const { response } = await open.until('response.completed')
  complete.set(headers['x-request-id'] as string, response.id as string)
}

test('a second gateway on the same folder does not start, and says who has it', async () => {
  await using world = await leaveBooks()
  await using first = await startGateway(world.data)
  await expect(startGateway(world.data)).rejects.toThrow(
    new RegExp(`ended with 1: [^]*data folder ${world.data} is in use by another Headgate \\(process ${first.child.pid} on `),
  )
  expect(await send({ url: first.url, key: world.key })).toMatchObject({ status: 200 })
})

test('told to stop, it says so first, sends those in line away, lets answers finish and ends the rest', async () => {
  await using world = await openWorld({ user: { concurrency: 1 }, prices: [{}, { model: 'finishes' }, { model: 'stays' }] })
  const [second, third] = [await world.addUser(), await world.addUser()]
  const keys = [await world.addKey(second), await world.addKey(third)]
  await world.headgate.stop()
  const data = join(world.folder, 'data')
  for (const [model, gate] of [
    ['finishes', 'soon'],
    ['stays', 'never'],
  ] as const)
    world.sim.script({ model }, { model: 'sim', hold: { gate, at: 6 } })

  const notice = { stopNoticeMs: 1_000, stopStreamsMs: 2_000 }
  await using gateway = await startGateway(data, { ...notice, lineTimeoutMs: 60_000 })
  const { url } = gateway
  const as = (key: string): Target => ({ url, key })
  await using finishing = openStream(as(world.key), { body: { model: 'finishes' } })
  await using staying = openStream(as(keys[0]!.secret), { body: { model: 'stays' } })
  await finishing.until('response.output_text.delta')
  await staying.until('response.output_text.delta')
  const inLine = send(as(world.key))
  await until(async () => (await metric(url, 'headgate_calls_waiting')) === 1, 'nobody stands in line')

  gateway.child.kill('SIGTERM')
  await until(async () => (await send(as(''), { method: 'GET', path: '/readyz', key: null })).status === 503, '/readyz never says so')
  const late = await send(as(keys[1]!.secret))
  expect(late).toMatchObject({ status: 200, headers: { connection: 'close' } })
  const sentAway = await inLine
  expect(sentAway).toMatchObject({ status: 503, error: { type: 'api_error', message: 'Gateway is restarting, please retry later' } })
  expect(Number(sentAway.headers['retry-after'])).toBeGreaterThan(0)
  await until(async () => (await send(as(keys[1]!.secret))).status === 0, 'it still accepts calls')

  world.sim.open('soon')
  await finishing.until('response.completed')
  const failed = await staying.until('response.failed')
  expect(failed.response).toMatchObject({ status: 'failed', error: { code: 'server_error' } })
  expect(await staying.rest()).toEqual([])
  expect(await gateway.exit).toBe(0)

  await withBooks(data, async database => {
    expect(await openLedger(database, systemClock).check()).toEqual([])
    expect(await select(database, `select * from holds where state = 'held'`)).toEqual([])
    const rows = await select(database, 'select requested_model, status, ended, fault, basis, cost from calls order by id')
    const finished = { status: 200n, ended: 'completed', fault: null, basis: 'reported', cost: expect.toSatisfy(cost => cost > 0n) }
    expect(rows).toEqual([
      { requested_model: 'finishes', ...finished },
      {
        requested_model: 'stays',
        status: 200n,
        ended: 'cut',
        fault: 'aborted',
        basis: 'estimated',
        cost: expect.toSatisfy(cost => cost > 0n),
      },
      { requested_model: 'sim', status: 503n, ended: 'refused', fault: 'stopping', basis: 'none', cost: 0n },
      { requested_model: 'sim', ...finished },
    ])
  })
})

test('a drain that never ends does not keep a gateway from stopping: it is cut when its time is over, and its row is written', async () => {
  await using world = await leaveBooks({ user: { concurrency: 3 } })
  world.sim.script({}, { hold: { gate: 'never', at: 6 } })
  // Were it not for the stop, both would be read on for ten minutes.
  await using gateway = await startGateway(world.data, {
    stopNoticeMs: 0,
    stopStreamsMs: 500,
    drainMs: 600_000,
    betweenBytesTimeoutMs: 600_000,
  })
  const target = { url: gateway.url, key: world.key }
  const begun = openStream(target)
  await begun.until('response.output_text.delta')
  begun.leave()
  world.sim.script({}, { hold: 'never' })
  const unanswered = openStream(target)
  unanswered.begun.catch(() => {}) // It leaves.
  await world.sim.seen(2)
  unanswered.leave()
  await until(async () => (await metric(gateway.url, 'headgate_drains')) === 2, 'they are not drained')

  gateway.child.kill('SIGTERM')
  expect(await gateway.exit).toBe(0)
  await world.sim.gone(2)
  await withBooks(world.data, async database => {
    expect(await openLedger(database, systemClock).check()).toEqual([])
    expect(await select(database, `select * from holds where state = 'held'`)).toEqual([])
    expect(await select(database, 'select ended, fault, basis from calls order by id')).toEqual([
      { ended: 'client_left', fault: 'aborted', basis: 'estimated' },
      { ended: 'client_left', fault: 'aborted', basis: 'none' },
    ])
  })
})

async function metric(url: string, name: string): Promise<number> {
  const { body } = await send({ url, key: '' }, { method: 'GET', path: '/metrics', key: null })
  return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(body)?.[1])
}
