import { type Condition, calm } from '../coordination/coordinator.ts'
import { type Account, defaultCapabilities } from '../directory/entities.ts'
import type { Candidate } from './account.ts'

/** A candidate for tests: what is not said is ordinary, calm and unused. */
export function candidate(name: string, said: Partial<Account & Condition> = {}): Candidate {
  const { concurrency = 10, priority = 50, weight = 1, disabled = false, models = {}, ...condition } = said
  const account: Account = {
    id: name,
    name,
    provider: 'openai',
    baseUrl: 'https://api.openai.com/v1',
    apiKey: 'up-key',
    concurrency,
    priority,
    weight,
    groupIds: [],
    organization: null,
    models,
    capabilities: said.capabilities ?? defaultCapabilities,
    proxy: null,
    allowPrivateAddress: false,
    defaultTier: 'default',
    requestsPerMinute: null,
    tokensPerMinute: null,
    disabled,
    createdAtMs: 0,
  }
  return { account, model: 'sim', condition: { ...calm, ...condition } }
}
