import { type HostedTool, toolCallCost } from '../ledger/hold.ts'
import type { Admission } from './admit.ts'
import { beside } from './beside.ts'
import type { Gateway } from './gateway.ts'

/** The events that say that an upstream has run a tool of its own, and which one. */
const toolEvents: ReadonlyMap<string, HostedTool> = new Map([
  ['response.web_search_call.completed', 'webSearch'],
  ['response.file_search_call.completed', 'fileSearch'],
])

/** A call whose model searches without end must not have the books written without end. */
const extensionsMax = 100

/**
 * Watches the events of a stream: for each call of a hosted tool more is set aside, so that the user's other calls see less that is
 * free, and the charge finds its money. How often a tool will be called nobody knows before. The stream never waits for it, and
 * goes on when it fails: then the charge takes what is free. Undefined when the call has no such tools, or they cost nothing.
 */
export function toolWatch(
  { call, hold, receipt }: Admission,
  gateway: Pick<Gateway, 'ledger' | 'log'>,
): ((type: string) => void) | undefined {
  if (!call.facts.hasHostedTools) return undefined
  const { ledger, log } = gateway
  let to = receipt.held
  let extensions = 0
  let isAsking = false

  async function ask(): Promise<void> {
    isAsking = true
    for (let asked = 0n; asked < to; ) {
      asked = to
      await beside('setting more aside for a hosted tool', log, () => ledger.extend(receipt.id, hold.funds, asked))
    }
    isAsking = false
  }

  return type => {
    const tool = toolEvents.get(type)
    if (tool === undefined || extensions >= extensionsMax) return
    const more = toolCallCost(hold.size, tool)
    if (more === 0n) return
    extensions += 1
    to += more
    // One question at a time; what comes meanwhile is asked for together, because an extension names the total.
    if (!isAsking) void ask()
  }
}
