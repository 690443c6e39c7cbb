import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openLedger } from '../../src/ledger/ledger.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { openStream, send, type Target } from '../client.ts'
import { openWorld, until } from '../world.ts'
import { startGateway } from './gateway-process.ts'
import { leaveBooks, select, withBooks } from './left-books.ts'

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
