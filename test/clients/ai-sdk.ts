import { createOpenAI } from '@ai-sdk/openai'
import { APICallError, generateText, type LanguageModel, RetryError, streamText } from 'ai'
import type { Target } from '../client.ts'
import type { Ask } from './journey.ts'
import { errorOf } from './openai.ts'
import type { Report } from './situations.ts'

export function modelOf({ url, key }: Target, speaks: 'responses' | 'chat', model: string): LanguageModel {
  return createOpenAI({ baseURL: `${url}/v1`, apiKey: key })[speaks](model)
}

/** `generateText` and `streamText`. */
export const askSdk =
  (speaks: 'responses' | 'chat'): Ask =>
  async (target, { model: name, how }) => {
    const model = modelOf(target, speaks, name)
    const asked = { model, prompt: 'Who may open the gate?', telemetry: { isEnabled: false } }
    let report: Report = { text: '' }
    try {
      if (how === 'whole') {
        const { text, finishReason, usage } = await generateText(asked)
        return { text, finish: finishReason, usage: usageOf(usage) }
      }
      for await (const part of streamText({ ...asked, onError() {} }).fullStream) {
        if (part.type === 'text-delta') report = { ...report, text: report.text + part.text }
        if (part.type === 'error') report = { ...report, error: sdkErrorOf(part.error) }
        if (part.type === 'finish') report = { ...report, finish: part.finishReason, usage: usageOf(part.totalUsage) }
      }
      return report
    } catch (error) {
      return { ...report, error: sdkErrorOf(error) }
    }
  }

function usageOf({
  inputTokens: input,
  outputTokens: output,
}: {
  readonly inputTokens?: number | undefined
  readonly outputTokens?: number | undefined
}): Report['usage'] {
  return input === undefined || output === undefined ? undefined : { input, output }
}

/** With the status of the last answer. */
function sdkErrorOf(error: unknown): NonNullable<Report['error']> {
  if (!(error instanceof Error)) return { kind: 'no error', message: JSON.stringify(error) }
  const last = RetryError.isInstance(error) ? error.lastError : error
  const status = APICallError.isInstance(last) ? last.statusCode : undefined
  return { ...errorOf(error), ...(status !== undefined && { status }) }
}
