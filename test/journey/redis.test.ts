import { createRequire } from 'node:module'
import { afterAll, describe, expect, test } from 'vitest'
import { send } from '../client.ts'
import { type RedisServer, redisProgram, startRedis } from '../redis-server.ts'
import { gauge, openWorld, until } from '../world.ts'

const loaded = () => Object.keys(createRequire(import.meta.url).cache).some(path => path.includes('ioredis'))
const call = { model: 'sim', input: 'hello' }

test('without a Redis nothing of it is even loaded', async () => {
  await using world = await openWorld()
  expect((await send(world, { body: call })).status).toBe(200)
  expect(loaded()).toBe(false)
  expect(await gauge(world, 'headgate_coordinator')).toBe(1)
})

describe.skipIf(redisProgram === undefined)('with a Redis', () => {
  let server: RedisServer
  const open = async (settings = {}) => {
    server ??= await startRedis()
    return openWorld({ settings: { redisUrl: server.url, ...settings } })
  }
  afterAll(() => server?.[Symbol.asyncDispose]())

  test('a call passes, and leaves nothing behind', async () => {
    await using world = await open()
    expect(loaded()).toBe(true)
    expect((await send(world, { body: call })).status).toBe(200)
    await world.quiet()
    expect(await gauge(world, 'headgate_alone')).toBe(0)
  })

  test('while it is silent calls pass, the gateway is ready and says what is wrong; then it is over', async () => {
    await using world = await open()
    server.pause()
    expect((await send(world, { body: call })).status).toBe(200)
    const ready = await fetch(`${world.url}/readyz`)
    expect(ready.status).toBe(200)
    expect(await ready.json()).toMatchObject({ ready: true, troubles: [expect.stringContaining('Redis is silent')] })
    expect(await gauge(world, 'headgate_alone')).toBe(1)
    server.resume()
    await until(async () => (await gauge(world, 'headgate_alone')) === 0, 'it does not come back')
    expect((await send(world, { body: call })).status).toBe(200)
    await world.quiet()
  })
})
