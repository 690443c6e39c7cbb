import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { randomFrom } from '../../test/chance.ts'
import { openLane } from './lane.ts'
import { allAtOnce, arrive, keepInFlight, type Load, WrongAnswer } from './load.ts'
import type { Heard } from './reader.ts'
import { requestOf } from './request.ts'

/** Serves until the test is over. */
async function serving(listener: RequestListener): Promise<AsyncDisposable & { readonly load: Load }> {
  const server = createServer(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('a listening socket has a port')
  const keys = ['sk-1', 'sk-2', 'sk-3']
  const wrong = ({ status, bytes }: Heard) => (status === 200 && bytes === 2 ? undefined : 'not what was served')
  const requests = keys.map(key => requestOf({ stream: false }, { key }))
  return {
    load: { port: address.port, requests, wrong },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise(resolve => server.close(resolve))
    },
  }
}

const loads = {
  'a closed loop': (load: Load) => keepInFlight(load, 3, 20),
  'all at once': (load: Load) => allAtOnce(load, 5),
  'an open loop': (load: Load) => arrive(load, { perSecond: 1_000, ms: 20, lanes: 3, chance: randomFrom(1) }),
}

const faults: Readonly<Record<string, RequestListener>> = {
  'a refusal': (_, response) => response.writeHead(503).end('{}'),
  'an answer that is too short': (_, response) => response.end('{'),
}

for (const [load, run] of Object.entries(loads)) {
  for (const [fault, answer] of Object.entries(faults)) {
    test(`${load} ends at ${fault}`, async () => {
      let served = 0
      await using server = await serving((request, response) => {
        served += 1
        if (served === 2) answer(request, response)
        else response.end('{}')
      })
      await expect(run(server.load)).rejects.toThrow(WrongAnswer)
    })
  }

  test(`${load} ends when a connection breaks in the middle of an answer`, async () => {
    await using server = await serving((_, response) =>
      response.writeHead(200, { 'content-length': 2 }).write('{', () => response.destroy()),
    )
    await expect(run(server.load)).rejects.toThrow('in the middle of an answer')
  })

  test(`${load} counts what was served, by all keys in turn`, async () => {
    const served = new Map<string, number>()
    await using server = await serving(({ headers: { authorization = '' } }, response) => {
      served.set(authorization, (served.get(authorization) ?? 0) + 1)
      response.end('{}')
    })
    const { calls, tookMs } = await run(server.load)
    expect([...served.values()].reduce((sum, one) => sum + one, 0)).toBe(calls)
    expect(tookMs).toHaveLength(calls)
    expect([...served.keys()].toSorted()).toEqual(['Bearer sk-1', 'Bearer sk-2', 'Bearer sk-3'])
  })
}

test('what a server closes between two calls is opened anew', async () => {
  let connections = 0
  await using server = await serving((_, response) => {
    connections += 1
    response.writeHead(200, { 'content-length': 2, connection: 'close' }).end('{}')
  })
  const { calls } = await keepInFlight(server.load, 1, 20)
  expect(connections).toBe(calls)
})

test('what a server says of a long silence is no answer to what was sent meanwhile; the same to any other call is', async () => {
  const closing = { 'content-length': 2, connection: 'close' }
  let served = 0
  await using server = await serving((_, response) => {
    served += 1
    response.writeHead(served % 2 === 1 ? 408 : 200, closing).end('{}')
  })
  const lane = await openLane(server.load.port)
  const request = server.load.requests[0]!
  await pause(1_000)
  let sent = 0
  const count = () => void (sent += 1)
  expect(await lane.call(request, count)).toMatchObject({ status: 200 })
  expect([served, sent]).toEqual([2, 1])
  expect(await lane.call(request, count), 'not the first').toMatchObject({ status: 408 })
  const another = await openLane(server.load.port)
  served = 0
  expect(await another.call(request), 'not silent').toMatchObject({ status: 408 })
  for (const one of [lane, another]) one.close()
})

test('a call that finds every connection taken is made all the same, and its time runs from when it was due', async () => {
  const due: number[] = []
  let releasedMs = 0
  await using server = await serving((_, response) => {
    // All calls are due within 5 ms. Whoever is held first is held until all are.
    if (releasedMs === 0) releasedMs = performance.now() + 10
    const answer = () => (performance.now() < releasedMs ? setImmediate(answer) : response.end('{}'))
    answer()
  })
  const told = (_: Heard, tookMs: number) => void due.push(performance.now() - tookMs)
  const { calls } = await arrive({ ...server.load, told }, { perSecond: 1_000, ms: 5, lanes: 1, chance: () => 0.5 })
  expect(calls).toBe(8)
  expect(Math.max(...due)).toBeLessThan(releasedMs)
})

test('what the load itself is late with is told, and is in no time of the gateway', async () => {
  await using server = await serving((_, response) => response.end('{}'))
  let releasedMs = 0
  const due: number[] = []
  const sent: number[] = []
  const told = (_: Heard, tookMs: number) => void sent.push(performance.now() - tookMs)
  const busy = () => {
    releasedMs = performance.now() + 80
    while (performance.now() < releasedMs);
  }
  const chance = () => {
    if (releasedMs === 0) queueMicrotask(busy) // When the due times are on their way, all of them within these 80 ms.
    releasedMs ||= 1
    return 0.5
  }
  const { lateMs } = await arrive({ ...server.load, told }, { perSecond: 1_000, ms: 5, lanes: 8, chance })
  for (const [call, atMs] of sent.entries()) due.push(atMs - lateMs[call]!)
  expect(due).toHaveLength(8)
  expect(Math.max(...due)).toBeLessThan(releasedMs)
  expect(Math.min(...sent)).toBeGreaterThan(releasedMs - 1)
})
