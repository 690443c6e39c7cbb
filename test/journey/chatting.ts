import { expect } from 'vitest'
import type { Row } from '../../src/storage/database.ts'
import { type Answer, type Json, type OpenStream, openStream, type StreamEvent, send, type Target } from '../client.ts'
import type { World } from '../world.ts'
import { callsSince } from './books.ts'

/** What the journeys of chat completions have in common. */

export const chatPath = '/v1/chat/completions'

export const bodyOf = (more: object = {}) => ({ model: 'sim', messages: [{ role: 'user', content: 'Who may open the gate?' }], ...more })

export const complete = (target: Target, more: object = {}): Promise<Answer> => send(target, { path: chatPath, body: bodyOf(more) })

export const openChat = (target: Target, more: object = {}): OpenStream =>
  openStream(target, { path: chatPath, body: JSON.stringify(bodyOf({ stream: true, ...more })) })

/** What a client puts together of its chunks. */
export interface Heard {
  /** Text, finish reason and arguments of tools, by choice. */
  readonly choices: readonly { readonly text: string; readonly finish: unknown; readonly args: string; readonly tool: unknown }[]
  readonly models: readonly unknown[]
  /** Each chunk's, where it has one. */
  readonly usages: readonly unknown[]
  readonly error: Json | undefined
  readonly isDone: boolean
}

export function heardOf(events: readonly StreamEvent[]): Heard {
  const told = events.filter(({ type }) => type !== 'comment')
  const chunks = told.filter(({ type }) => type !== 'done').map(({ data }) => data)
  const pieces = chunks.flatMap(({ choices }) => (Array.isArray(choices) ? (choices as Piece[]) : []))
  const indexes = [...new Set(pieces.map(({ index }) => index))].sort()
  return {
    choices: indexes.map(index => choiceOf(pieces.filter(piece => piece.index === index))),
    models: [...new Set(chunks.filter(({ error }) => error === undefined).map(({ model }) => model))],
    usages: chunks.filter(chunk => 'usage' in chunk).map(({ usage }) => usage),
    error: chunks.find(({ error }) => error !== undefined)?.error as Json | undefined,
    isDone: told.at(-1)?.type === 'done',
  }
}

interface Piece {
  readonly index: number
  readonly delta: {
    readonly content?: string | null
    readonly tool_calls?: readonly { readonly function: { readonly name?: string; readonly arguments: string } }[]
  }
  readonly finish_reason: string | null
}

function choiceOf(pieces: readonly Piece[]): Heard['choices'][number] {
  const calls = pieces.flatMap(({ delta }) => delta.tool_calls ?? [])
  return {
    text: pieces.map(({ delta }) => delta.content ?? '').join(''),
    finish: pieces.findLast(({ finish_reason }) => finish_reason !== null)?.finish_reason ?? null,
    args: calls.map(call => call.function.arguments).join(''),
    tool: calls.find(call => call.function.name !== undefined)?.function.name,
  }
}

/** One call since `markCalls`, one row, and on it what the upstream's invoice says. Returns the row. */
export async function expectBilled(world: World, row: { readonly basis: 'reported' | 'drained'; readonly ended: string }): Promise<Row> {
  await world.quiet()
  const [found, ...more] = await callsSince(world)
  expect(more).toEqual([])
  const billed = world.sim.invoice.filter(({ answered, status }) => answered && status === 200).at(-1)
  expect(billed?.costNanos).toBeGreaterThan(0n)
  expect(found).toMatchObject({ ...row, cost: billed!.costNanos, uncollected: 0n, attempts: BigInt(world.sim.attempts.length) })
  return found!
}
