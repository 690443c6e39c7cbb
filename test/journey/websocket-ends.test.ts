import { once } from 'node:events'
import { expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { openHearing } from '../../sim/hear-socket.ts'
import { countByO200k } from '../../sim/o200k.ts'
import { gauge, until, type World } from '../world.ts'
import { create, errorOf, expectBooks, openSocketWorld, response, steer } from './sockets.ts'

/** How things over a WebSocket end that do not end well, and what they cost. */

/** The sockets that the gateway opens to upstreams, from now on. */
function socketsOf({ headgate }: World): readonly WebSocket[] {
  const { egress } = headgate.gateway
  const { openSocket } = egress
  const sockets: WebSocket[] = []
  egress.openSocket = target => {
    const ws = openSocket(target)
    sockets.push(ws)
    return ws
  }
  return sockets
}

test.for(['cut', 'eof'] as const)(
  'an upstream that breaks in the middle (%s): a proper end, an estimate, and the socket is closed',
  async end => {
    await using world = await openSocketWorld({ countTokens: countByO200k, settings: { estimateWithinMs: 30_000 } })
    world.sim.script({}, { text: 'one two three four five six', deltas: 6, end, afterEvents: 7 })
    const hearing = await openHearing(world, world.key)
    hearing.say(create({ stream_id: 'a', input: 'count to six, please, and do not hurry' }))
    const failed = await hearing.untilType('response.failed')

    expect(failed).toMatchObject({ stream_id: 'a', sequence_number: 7, response: { status: 'failed', error: { code: 'server_error' } } })
    expect(await hearing.closed).toBe(1012)
    expect(hearing.messages.some(({ type }) => type === 'response.completed')).toBe(false)
    await world.quiet()
    const [row] = await world.rows()
    expect(row).toMatchObject({ ended: 'cut', basis: 'estimated', fault: 'stream_cut' })
    expect(Math.abs(Number(row!.cost) / Number(world.sim.invoice[0]!.costNanos) - 1)).toBeLessThanOrEqual(0.02)
    expect((await world.conditions())[0]).toMatchObject({ failures: 1, taken: 0 })
  },
)

test('an upstream that breaks after it took a steering gives back the successor’s hold', async () => {
  await using world = await openSocketWorld()
  world.sim.script({}, { text: 'one two three', deltas: 3, end: 'cut', afterEvents: 6, hold: { gate: 'weir', at: 5 } })
  const hearing = await openHearing(world, world.key)
  hearing.say(create({ max_output_tokens: 1000 }))
  const { id } = response(await hearing.untilType('response.created'))
  await world.sim.gate('weir').reached()
  hearing.say(steer(id))
  await hearing.untilType('response.steer.accepted')
  world.sim.open('weir')
  await hearing.untilType('response.failed')
  expect(await hearing.closed).toBe(1012)
  await world.quiet()
  expect((await world.rows()).map(({ basis }) => basis)).toEqual(['estimated'])
})

test('a client that leaves in the middle is billed what the upstream says in the end', async () => {
  await using world = await openSocketWorld()
  const upstreams = socketsOf(world)
  world.sim.script({}, { hold: { gate: 'weir', at: 6 } })
  const hearing = await openHearing(world, world.key)
  hearing.say(create())
  await hearing.untilType('response.output_text.delta')
  hearing.leave()
  await until(async () => (await gauge(world, 'headgate_calls_running')) === 0, 'the user’s slot is not given back')
  expect([await gauge(world, 'headgate_drains'), await gauge(world, 'headgate_account_slots_taken')]).toEqual([1, 1])
  world.sim.open('weir')
  await expectBooks(world, ['drained'])
  expect((await world.rows())[0]).toMatchObject({ ended: 'client_left', status: 200n })
  await until(() => upstreams.every(ws => ws.readyState === WebSocket.CLOSED), 'the upstream’s socket stays open')
  expect(upstreams).toHaveLength(1)
})

test('a client that leaves after it steered is billed the successor, too', async () => {
  await using world = await openSocketWorld()
  world.sim.script({}, [{ reasoning: 10, text: 'never said', hold: { gate: 'weir', at: 5 } }, { text: 'as you wish' }])
  const hearing = await openHearing(world, world.key)
  hearing.say(create({ max_output_tokens: 1000 }))
  const { id } = response(await hearing.untilType('response.created'))
  await world.sim.gate('weir').reached()
  hearing.say(steer(id))
  await hearing.untilType('response.steer.accepted')
  hearing.leave()
  await until(async () => (await gauge(world, 'headgate_drains')) === 1, 'nothing is drained')
  world.sim.open('weir')
  await until(() => world.sim.invoice.length === 2, 'there is no successor')
  await expectBooks(world, ['drained', 'drained'])
})

test('a drain that takes too long is cut, and its upstream with it', async () => {
  await using world = await openSocketWorld({ settings: { drainMs: 50 } })
  world.sim.script({}, { hold: { gate: 'never', at: 6 } })
  const hearing = await openHearing(world, world.key)
  hearing.say(create())
  await hearing.untilType('response.output_text.delta')
  hearing.leave()
  await world.sim.gone(1)
  await world.quiet()
  expect((await world.rows())[0]).toMatchObject({ ended: 'client_left', basis: 'estimated', fault: 'aborted' })
})

test('until something was answered, another account may be tried: at the upgrade and at the create', async () => {
  await using world = await openSocketWorld({ accounts: [{ priority: 1 }, { priority: 2 }, { priority: 3 }] })
  world.sim.script({ key: 'up-a1', route: 'websocket' }, { status: 401, error: { message: 'no' } })
  world.sim.script({ key: 'up-a2' }, { status: 429, headers: { 'retry-after': '7' } })
  const hearing = await openHearing(world, world.key)
  hearing.say(create())
  await hearing.untilType('response.completed')
  hearing.say(create())
  await hearing.untilType('response.completed', 2)
  hearing.close()
  await expectBooks(world, ['reported', 'reported'])
  const attempts = await world.attempts()
  expect(attempts.map(({ fault, status }) => [fault, status])).toEqual([
    ['auth', 401n],
    ['limited', 429n],
    [null, 200n],
    [null, 200n],
  ])
  expect(attempts[2]!.account_id).toBe(attempts[3]!.account_id)
})

test('what the upstream refuses is told in its words, and costs nothing', async () => {
  await using world = await openSocketWorld()
  world.sim.script({}, { status: 400, error: { type: 'invalid_request_error', code: 'odd', message: 'No.', param: 'input' } })
  const hearing = await openHearing(world, world.key)
  hearing.say(create({ stream_id: 'a' }))
  expect(await hearing.untilType('error')).toEqual({
    type: 'error',
    status: 400,
    stream_id: 'a',
    error: { type: 'invalid_request_error', code: 'odd', message: 'No.', param: 'input' },
  })
  hearing.close()
  await expectBooks(world, [])
  expect((await world.rows())[0]).toMatchObject({ ended: 'refused', status: 400n, cost: 0n })
})

test('a stop refuses what is new, lets finish what runs, and says goodbye', async () => {
  await using world = await openSocketWorld()
  world.sim.script({}, { hold: { gate: 'weir', at: 6 } })
  const [busy, idle] = [await openHearing(world, world.key), await openHearing(world, world.key)]
  busy.say(create({ stream_id: 'a' }))
  await busy.untilType('response.output_text.delta')
  const stopped = world.headgate.stop()
  expect(await idle.closed).toBe(1001)
  busy.say(create({ stream_id: 'b' }))
  const refused = await busy.untilType('error')
  world.sim.open('weir')
  await busy.untilType('response.completed')
  expect(await busy.closed).toBe(1001)
  await stopped

  expect(refused).toMatchObject({ status: 503, stream_id: 'b', error: { message: 'Gateway is restarting, please retry later' } })
  expect(errorOf(refused).headers).toEqual({ 'retry-after': '5' })
  expect(world.sim.invoice.map(({ ended, clientLeft }) => [ended, clientLeft])).toEqual([['completed', false]])
})

test('a stop that cannot wait any longer ends what runs properly, and settles it', async () => {
  await using world = await openSocketWorld({ settings: { stopStreamsMs: 100 } })
  world.sim.script({}, { hold: { gate: 'never', at: 6 } })
  const hearing = await openHearing(world, world.key)
  hearing.say(create())
  await hearing.untilType('response.output_text.delta')
  const { log: _, books } = world.headgate.gateway
  await world.headgate.stop()
  expect(hearing.messages.at(-1)).toMatchObject({ type: 'response.failed' })
  expect(await hearing.closed).toBe(1001)
  expect(books.owed + books.unwritten).toBe(0)
})

test('a client that does not answer pings is cut', async () => {
  await using world = await openSocketWorld({ settings: { socketPingMs: 50 } })
  const headers = { authorization: `Bearer ${world.key}` }
  const [mute, fair] = [false, true].map(
    autoPong => new WebSocket(`${world.url.replace('http', 'ws')}/v1/responses`, { headers, autoPong }),
  )
  mute!.on('error', () => {}) // It is cut.
  await once(mute!, 'close')
  expect(fair!.readyState).toBe(WebSocket.OPEN)
  fair!.close()
  await world.quiet()
})

test('a client that reads nothing is cut, and what it was given is bounded', async () => {
  await using world = await openSocketWorld({ settings: { stalledReaderMs: 100 } })
  world.sim.script({}, { text: 'words and more words, '.repeat(400_000), deltas: 4_000 })
  const ws = new WebSocket(`${world.url.replace('http', 'ws')}/v1/responses`, { headers: { authorization: `Bearer ${world.key}` } })
  ws.on('error', () => {}) // It is cut.
  await once(ws, 'open')
  ws.send(JSON.stringify(create()))
  await once(ws, 'message')
  ws.pause()
  await until(async () => (await gauge(world, 'headgate_sockets')) === 0, 'the reader is not cut')
  ws.terminate()
  await expectBooks(world, ['drained'])
})

test('a client that asks on and on and reads no answer is cut', async () => {
  await using world = await openSocketWorld({ settings: { stalledReaderMs: 100 } })
  const ws = new WebSocket(`${world.url.replace('http', 'ws')}/v1/responses`, { headers: { authorization: `Bearer ${world.key}` } })
  ws.on('error', () => {}) // It is cut.
  await once(ws, 'open')
  ws.pause()
  // What is steered in comes back with why it cannot be: as long as the question is the answer.
  for (let i = 0; i < 40; i += 1) ws.send(JSON.stringify(steer('resp_none', 'words, '.repeat(150_000))))
  await until(async () => (await gauge(world, 'headgate_sockets')) === 0, 'who reads nothing is answered on and on')
  ws.terminate()
  await world.quiet()
})
