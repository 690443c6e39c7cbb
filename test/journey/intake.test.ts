import { expect, test } from 'vitest'
import { openStream, send } from '../client.ts'
import { inLine, inParallel, openWorld, until, type World } from '../world.ts'

/** How many calls waited unread so far. */
async function waited({ headgate }: World): Promise<number> {
  const { values } = await headgate.gateway.metrics.intakeSeconds.get()
  return values.find(({ metricName }) => metricName === 'headgate_intake_seconds_count')?.value ?? 0
}

test('more calls at once than may be in hand are all served, some after a wait', async () => {
  await using world = await openWorld({ user: { concurrency: 0 }, accounts: [{ concurrency: 0 }], settings: { callsInHandMax: 1 } })
  const statuses: number[] = []
  await inParallel(40, 40, async () => void statuses.push((await send(world)).status))
  expect(statuses).toEqual(Array(40).fill(200))
  expect(await waited(world)).toBeGreaterThan(0)
  await world.quiet()
  expect((await world.rows()).map(({ ended }) => ended)).toEqual(Array(40).fill('completed'))
})

test('streams and those in a line are not in hand, so nobody waits for them', async () => {
  const group = { onClientLeft: 'abort' } as const
  await using world = await openWorld({ group, user: { concurrency: 3 }, accounts: [{ concurrency: 9 }], settings: { callsInHandMax: 1 } })
  world.sim.script({}, { deltas: 50, betweenEventsMs: 200 })
  const streams = []
  for (let number = 0; number < 3; number += 1) {
    const stream = openStream(world)
    streams.push(stream)
    await stream.next()
  }
  const lined = send(world)
  await inLine(world, 1)
  expect((await send(world, { key: 'sk-unknown' })).status).toBe(401)
  expect(await waited(world)).toBe(0)
  for (const stream of streams) stream.leave()
  expect((await lined).status).toBe(200)
  await world.quiet()
})

test('a gateway that stops has answered those who waited unread', async () => {
  await using world = await openWorld({ user: { concurrency: 0 }, accounts: [{ concurrency: 0 }], settings: { callsInHandMax: 1 } })
  const calls = Array.from({ length: 40 }, () => send(world))
  await until(() => world.headgate.serving.calls.unread > 0, 'nobody waits unread')
  const stopped = world.headgate.stop()
  const endings = (await Promise.all(calls)).map(({ status }) => status)
  expect(endings.filter(status => ![0, 200, 503].includes(status))).toEqual([])
  await stopped
  expect(world.headgate.serving.calls.count).toBe(0)
})
