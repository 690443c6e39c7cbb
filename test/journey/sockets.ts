import { expect } from 'vitest'
import type { Message } from '../../sim/hear-socket.ts'
import { defaultCapabilities } from '../../src/directory/entities.ts'
import { openWorld, type World, type WorldOptions } from '../world.ts'

export const capabilities = { ...defaultCapabilities, websocket: true }

/** A world whose accounts speak WebSocket. */
export function openSocketWorld({ accounts = [{}], ...options }: WorldOptions = {}): Promise<World> {
  return openWorld({ ...options, accounts: accounts.map(account => ({ capabilities, ...account })) })
}

export const create = (fields: object = {}) => ({ type: 'response.create', model: 'sim', input: 'hello', ...fields })
export const steer = (id: string, input: unknown = 'wait') => ({ type: 'response.steer', previous_response_id: id, input })
export const response = (message: Message) => message.response as Record<string, unknown> & { id: string; usage: Record<string, number> }
export const errorOf = (message: Message) => message.error as Record<string, unknown>

/** After each of these the books are what the upstream's invoice says: a row for each billed response, and nothing taken or held. */
export async function expectBooks(world: World, bases: readonly string[]): Promise<void> {
  await world.quiet()
  const rows = (await world.rows()).filter(({ basis }) => basis !== 'none')
  const billed = world.sim.invoice.filter(({ costNanos }) => costNanos > 0n)
  expect(rows.map(({ basis }) => basis).sort()).toEqual([...bases].sort())
  const costs = (of: readonly bigint[]) => [...of].sort((a, b) => (a < b ? -1 : 1))
  expect(costs(rows.map(({ cost }) => cost as bigint))).toEqual(costs(billed.map(({ costNanos }) => costNanos)))
  expect(rows.every(({ uncollected, path }) => uncollected === 0n && path === '/v1/responses (websocket)')).toBe(true)
}
