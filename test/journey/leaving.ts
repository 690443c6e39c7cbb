import OpenAI from 'openai'
import { expect } from 'vitest'
import type { Hold } from '../../sim/script.ts'
import { openStream, type Target } from '../client.ts'
import { gauge, until, type World } from '../world.ts'
import type { Row, Who } from './row.ts'

const gate = 'the client leaves'

/** Where the upstream waits until the client has left. */
export const held: Readonly<Record<'headers' | 'firstEvent' | 'middle', Hold>> = {
  headers: { gate },
  firstEvent: { gate, at: 'firstEvent' },
  middle: { gate, at: 6 },
}

/** Calls, and leaves where the row says so. Resolves when the gateway has noticed; the upstream then goes on. */
export async function callAndLeave(world: World, target: Target, who: Who, row: Row): Promise<void> {
  const { sim, headgate } = world
  sim.gate(gate).shut()
  const leave = await (who.startsWith('sdk') ? sdk(world, target, row) : raw(world, target, who, row))
  leave()
  await until(() => headgate.serving.calls.count === 0, 'nobody notices that the client left')
  expect(await gauge(world, 'headgate_calls_running')).toBe(0)
  // The drain's, until the upstream has ended.
  if (row.leaves !== 'after the end' && row.onClientLeft !== 'abort') expect(await gauge(world, 'headgate_account_slots_taken')).toBe(1)
  // The upstream must have noticed too, or it would go on.
  if (row.onClientLeft === 'abort' && row.leaves !== 'after the end') await sim.gone(1)
  sim.open(gate)
}

async function raw(world: World, target: Target, who: Who, row: Row): Promise<() => void> {
  const open = openStream(target, { body: { stream: who === 'stream', ...row.ask } })
  open.begun.catch(() => {}) // It left.
  if (row.leaves === 'after the end') await open.until('response.completed')
  else await world.sim.gate(gate).reached()
  // Both that were sent: what the gateway has not read when it cuts the upstream, it cannot count.
  if (row.leaves === 'in the middle') for (let n = 0; n < 2; n++) await open.until('response.output_text.delta')
  return () => open.leave()
}

async function sdk({ sim }: World, { url, key }: Target, row: Row): Promise<() => void> {
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 })
  const leaving = new AbortController()
  const asked = client.responses.create({ model: 'sim', input: 'hello', stream: true, ...row.ask }, { signal: leaving.signal })
  asked.catch(() => {}) // It left.
  await sim.gate(gate).reached()
  if (row.leaves === 'in the middle') for await (const event of await asked) if (event.type === 'response.output_text.delta') break
  return () => leaving.abort()
}
