import { Agent, OpenAIProvider, Runner } from '@openai/agents'
import type { Target } from '../client.ts'
import type { Ask } from './journey.ts'
import { errorOf } from './openai.ts'

/** Nothing of a run may leave this machine. */
export function runnerOf({ url, key }: Target, speaksResponses: boolean): Runner {
  const modelProvider = new OpenAIProvider({ baseURL: `${url}/v1`, apiKey: key, useResponses: speaksResponses })
  return new Runner({ modelProvider, tracingDisabled: true })
}

/** An agent without tools, run once. */
export const askAgents =
  (speaksResponses: boolean): Ask =>
  async (target, { model, how }) => {
    const runner = runnerOf(target, speaksResponses)
    const agent = new Agent({ name: 'Keeper', instructions: 'You keep the gate.', model })
    let text = ''
    try {
      if (how === 'whole') {
        const result = await runner.run(agent, 'Who may open the gate?')
        return { text: result.finalOutput ?? '', usage: usageOf(result.rawResponses) }
      }
      const result = await runner.run(agent, 'Who may open the gate?', { stream: true })
      for await (const piece of result.toTextStream()) text += piece
      await result.completed
      return { text, usage: usageOf(result.rawResponses) }
    } catch (error) {
      return { text, error: errorOf(error) }
    }
  }

function usageOf(responses: readonly { readonly usage: { readonly inputTokens: number; readonly outputTokens: number } }[]) {
  const last = responses.at(-1)?.usage
  return last && { input: last.inputTokens, output: last.outputTokens }
}
