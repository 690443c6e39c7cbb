import { expect, test } from 'vitest'
import type { Coordinator } from '../../src/coordination/coordinator.ts'
import { openStream, send } from '../client.ts'
import { openWorld, until } from '../world.ts'
import { connectTo, drip, headOf } from './raw-client.ts'

const content = Buffer.from(JSON.stringify({ model: 'sim', input: 'words and more words, '.repeat(100_000) }))

test('an upload that goes on for ever does not keep a gateway from stopping', async () => {
  await using world = await openWorld()
  await using client = await connectTo(world)
  client.socket.write(headOf(world, { 'content-length': String(content.length) }))
  const dripping = drip(client, at => content.subarray(at * 1_000, at * 1_000 + 1_000), 20)
  await until(() => world.headgate.gateway.bodies.takenBytes > 0, 'the upload has not begun')
  await world.headgate.stop()
  dripping.stop()
  const { text } = await client.closed
  expect(text).toMatch(/^HTTP\/1\.1 503 Service Unavailable\r\n/)
  expect(text).toMatch(/\r\nretry-after: \d+\r\n/)
  expect(text).toContain('"message":"Gateway is restarting, please retry later"')
})

test('a client that reads slowly still reads the end of its stream when the gateway stops', async () => {
  await using world = await openWorld({ settings: { stopStreamsMs: 300 } })
  world.sim.script({}, { text: 'words and more words, '.repeat(400_000), deltas: 40, hold: { gate: 'never', at: 40 } })
  await using open = openStream(world)
  await open.until('response.output_text.delta')
  open.pause()
  const stopped = world.headgate.stop()
  await until(() => world.headgate.gateway.live.size === 0, 'the upstream is not left')
  open.resume()
  const heard = await open.rest()
  expect(heard.at(-1)).toMatchObject({ type: 'response.failed' })
  await stopped
})

test('a client that reads nothing any more does not keep a gateway from stopping', async () => {
  await using world = await openWorld({ settings: { stopStreamsMs: 300 } })
  world.sim.script({}, { text: 'words and more words, '.repeat(400_000), deltas: 40, hold: { gate: 'never', at: 40 } })
  await using open = openStream(world)
  await open.until('response.output_text.delta')
  open.pause()
  await world.headgate.stop()
})

test('connections that are kept alive, idle or not, do not keep a gateway from stopping', async () => {
  await using world = await openWorld({ settings: { stopStreamsMs: 5_000 } })
  world.sim.script({ model: 'sim' }, [{}, { hold: 'gate' }])
  await using idle = await connectTo(world)
  const body = JSON.stringify({ model: 'sim', input: 'hello' })
  idle.socket.write(headOf(world, { 'content-length': String(body.length) }) + body)
  await until(async () => (await world.rows()).length === 1, 'the first call is not answered')
  await using busy = await connectTo(world)
  busy.socket.write(headOf(world, { 'content-length': String(body.length) }) + body)
  await world.sim.seen(2)
  const startedMs = performance.now()
  const stopped = world.headgate.stop()
  await idle.closed
  world.sim.open('gate')
  expect((await busy.closed).text).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
  await stopped
  expect(performance.now() - startedMs).toBeLessThan(4_000)
  expect((await send(world)).status).toBe(0)
})

test('until the notice is over a call on a connection that was idle is served, and told that it is the last', async () => {
  await using world = await openWorld({ settings: { stopNoticeMs: 2_000 } })
  const body = JSON.stringify({ model: 'sim', input: 'hello' })
  const call = headOf(world, { 'content-length': String(body.length) }) + body
  await using client = await connectTo(world)
  client.socket.write(call)
  await until(async () => (await world.rows()).length === 1, 'the first call is not answered')
  const stopped = world.headgate.stop()
  await until(async () => (await fetch(`${world.url}/readyz`)).status === 503, 'the notice is not given')
  client.socket.write(call)
  const answers = (await client.closed).text.split(/(?=HTTP\/1\.1 )/)
  expect(answers.map(answer => [answer.slice(9, 12), /^connection: close\r$/im.test(answer)])).toEqual([
    ['200', false],
    ['200', true],
  ])
  await stopped
})

test('a call that came in before the doors closed still finds its slot', async () => {
  const { promise: mayEnter, resolve: letEnter } = Promise.withResolvers<void>()
  const { promise: entering, resolve: enters } = Promise.withResolvers<void>()
  const slowly = (enter: Coordinator['enter']): Coordinator['enter'] => {
    return async (caller, waiter) => {
      enters()
      await mayEnter
      return enter(caller, waiter)
    }
  }
  const wrapCoordinator = <Port extends Coordinator>(port: Port): Port =>
    new Proxy(port, {
      get(target, name) {
        if (name === 'enter') return slowly((caller, waiter) => target.enter(caller, waiter))
        const found: unknown = Reflect.get(target, name)
        return typeof found === 'function' ? found.bind(target) : found
      },
    })
  await using world = await openWorld({ adapters: { wrapCoordinator } })
  const answer = send(world)
  await entering
  const stopped = world.headgate.stop()
  await until(() => !world.headgate.serving.server.listening, 'the doors do not close')
  letEnter()
  expect((await answer).status).toBe(200)
  await stopped
})
