import { randomBytes } from 'node:crypto'
import { countByBytes } from './asked.ts'
import { openBill } from './bill.ts'
import { openFastAnswers } from './fast.ts'
import { type Charge, type OpenLine, priceList } from './invoice.ts'
import { openMemory } from './memory.ts'
import { openScriptBook } from './script.ts'
import type { Attempt, SimOptions } from './sim.ts'
import { type Gate, newGate, openWatch } from './watch.ts'

/** What the requests to one scripted upstream share. */
export type Parts = ReturnType<typeof newParts>

export function newParts(options: SimOptions) {
  const watch = openWatch()
  const gates = new Map<string, Gate>()
  const charge: Charge = priceList(options.prices ?? {})
  const lines: OpenLine[] = []
  const attempts: Attempt[] = []
  const invoice = openBill()
  const nowMs = options.nowMs ?? Date.now
  return {
    watch,
    charge,
    lines,
    attempts,
    invoice,
    models: options.models ?? Object.keys(options.prices ?? {}),
    countTokens: options.countTokens ?? countByBytes,
    record: options.record ?? true,
    socketLimits: options.websocket === false ? undefined : { ...defaultSocketLimits, ...options.websocket },
    scripts: openScriptBook(),
    memory: openMemory(),
    fast: openFastAnswers(),
    nextSuffix: countedSuffixes(),
    /** One for each answer under way. */
    running: new Set<AbortController>(),
    gone: 0,
    isClosing: false,
    gates(name: string): Gate {
      let gate = gates.get(name)
      if (gate === undefined) gates.set(name, (gate = newGate(watch)))
      return gate
    },
    organisationOf: (key: string) => options.organisations?.[key] ?? 'org-sim',
    /** Puts a line on the invoice. */
    bill(line: OpenLine): void {
      invoice.add(line, nowMs())
      if (options.record ?? true) lines.push(line)
    },
  }
}

/** Why an answer under way ends when its connection does. Made once: an error with its stack costs more than the rest of a fast answer. */
export const departed = new Error('the connection was closed')

/** What one WebSocket may do, as OpenAI limits it. */
export interface SocketLimits {
  readonly connectionMs: number
  readonly inFlightMax: number
  readonly lanesMax: number
}

const defaultSocketLimits: SocketLimits = { connectionMs: 3_600_000, inFlightMax: 16, lanesMax: 32 }

/** Unique, and always of the same length: 32 characters. */
function countedSuffixes(): () => string {
  const start = randomBytes(8).toString('hex')
  let count = 0
  return () => start + (count++).toString(16).padStart(16, '0')
}
