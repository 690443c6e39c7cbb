import { z } from 'zod'
import { defaultCapabilities } from '../directory/entities.ts'
import { clientLeftPolicies, unpricedPolicies, waysOfPaying } from '../directory/groups.ts'
import {
  baseUrl,
  baseUrlProblem,
  concurrency,
  email,
  firstEventLimitMs,
  label,
  model,
  multiplier,
  name,
  object,
  perMinute,
  proxy,
  rate,
} from './fields.ts'

/**
 * What an installation has, as setup.yaml says it and as the API takes it. A field that is left out has the default that
 * stands here; only an account's API key, left out, stays what it was.
 */

const group = {
  name,
  multiplier,
  pays: z.enum(waysOfPaying),
  unpriced: z.enum(unpricedPolicies),
  onClientLeft: z.enum(clientLeftPolicies),
  firstEventLimitMs,
}

export const groupSchema = object('a group', {
  name,
  multiplier: multiplier.default('1'),
  pays: group.pays.default('balance'),
  unpriced: group.unpriced.default('refuse'),
  onClientLeft: group.onClientLeft.default('drain'),
  firstEventLimitMs: firstEventLimitMs.default(null),
})
export const groupChangeSchema = object('a group', group).partial()

export const capability = {
  responses: z.boolean(),
  chat: z.boolean(),
  embeddings: z.boolean(),
  websocket: z.boolean(),
  background: z.boolean(),
  compact: z.boolean(),
  stateful: z.boolean(),
  auth: z.enum(['bearer', 'api-key']),
  safetyIdentifier: z.boolean(),
  serviceTiers: z.boolean(),
  hostedTools: z.boolean(),
}
const capabilityChange = object('capabilities', capability).partial()

const organization = label.describe(
  'Accounts of the same organisation at the upstream read each other’s encrypted reasoning. Null: each its own.',
)

const account = {
  name,
  provider: z.literal('openai'),
  baseUrl,
  apiKey: z
    .string()
    .max(2_000)
    .regex(/^[\x21-\x7e]+$/, 'takes a key without blanks; is the variable that it comes from set?'),
  groups: z.array(name).max(100),
  concurrency,
  priority: z.int().min(-1_000_000).max(1_000_000),
  weight: z.int().min(1).max(1_000_000),
  models: z.record(model, model),
  capabilities: capabilityChange,
  proxy: proxy.nullable(),
  allowPrivateAddress: z.boolean(),
  defaultTier: label,
  requestsPerMinute: perMinute,
  tokensPerMinute: perMinute,
  organization: organization.nullable(),
  disabled: z.boolean(),
}

export const accountSchema = object('an account', {
  name,
  provider: account.provider.default('openai'),
  baseUrl,
  apiKey: account.apiKey.optional(),
  groups: account.groups.default([]),
  concurrency: concurrency.default(10),
  priority: account.priority.default(50),
  weight: account.weight.default(1),
  models: account.models.default({}),
  capabilities: capabilityChange.default({}),
  proxy: account.proxy.default(null),
  allowPrivateAddress: z.boolean().default(false),
  defaultTier: label.default('default'),
  requestsPerMinute: perMinute.default(null),
  tokensPerMinute: perMinute.default(null),
  organization: organization.nullable().default(null),
  disabled: z
    .boolean()
    .optional()
    .describe('Left out, it stays as it is: what an operator disabled by hand, no setup enables by saying nothing.'),
}).superRefine(({ baseUrl, allowPrivateAddress }, check) => {
  const problem = baseUrlProblem(baseUrl, allowPrivateAddress)
  if (problem !== undefined) check.addIssue({ code: 'custom', path: ['baseUrl'], message: problem })
})
export const accountChangeSchema = object('an account', account).partial()

const user = { email, concurrency, requestsPerMinute: perMinute, tokensPerMinute: perMinute, disabled: z.boolean() }

export const userSchema = object('a user', {
  email,
  concurrency: concurrency.default(5),
  requestsPerMinute: perMinute.default(null),
  tokensPerMinute: perMinute.default(null),
  disabled: z
    .boolean()
    .optional()
    .describe('Left out, it stays as it is: what an operator disabled by hand, no setup enables by saying nothing.'),
})
export const userChangeSchema = object('a user', user).partial()

const perTokensOrFresh = 'USD per million tokens; as fresh input when left out'

/** Rates are USD per million tokens, those of hosted tools USD per call. */
export const priceSchema = object('a price', {
  model,
  tier: label.default('default'),
  contextOver: z.int().min(0).default(0).describe('For calls whose input has more tokens than this.'),
  input: rate,
  cached: rate.optional().describe(perTokensOrFresh),
  cacheWrite: rate.optional().describe(perTokensOrFresh),
  cacheWrite12h: rate.optional().describe('USD per million tokens; as cacheWrite when left out'),
  output: rate,
  webSearch: rate.nullable().default(null),
  fileSearch: rate.nullable().default(null),
  maxOutput: z.int().min(1).nullable().default(null),
  aliases: z.array(model).max(100).default([]).describe('Other names of the same model. Exact, never fuzzy.'),
  source: z.string().max(500).nullable().default(null),
})

const mostOfAKind = 10_000

/** A section that is left out is left alone; it is not the same as an empty one, which `prune` takes at its word. */
export const setupSchema = object('a setup', {
  groups: z.array(groupSchema).max(mostOfAKind).optional(),
  accounts: z.array(accountSchema).max(mostOfAKind).optional(),
  users: z.array(userSchema).max(mostOfAKind).optional(),
  prices: z.array(priceSchema).max(mostOfAKind).optional(),
}).superRefine((setup, check) => {
  const twice = (section: string, keys: readonly string[] = [], field: string) => {
    for (const [index, key] of keys.entries()) {
      const first = keys.indexOf(key)
      if (first < index)
        check.addIssue({ code: 'custom', path: [section, index, field], message: `is the same as in ${section}[${first}]` })
    }
  }
  twice(
    'groups',
    setup.groups?.map(one => one.name),
    'name',
  )
  twice(
    'accounts',
    setup.accounts?.map(one => one.name),
    'name',
  )
  twice(
    'users',
    setup.users?.map(one => one.email),
    'email',
  )
  const lines = setup.prices?.map(one => `${one.model} ${one.tier} ${one.contextOver}`)
  twice('prices', lines, 'model')
})

export type SetupGroup = z.output<typeof groupSchema>
export type SetupAccount = z.output<typeof accountSchema>
export type SetupUser = z.output<typeof userSchema>
export type SetupPrice = z.output<typeof priceSchema>
export type Setup = z.output<typeof setupSchema>

/** What an account's server can do, when only the differences are said. */
export function fullCapabilities(said: SetupAccount['capabilities']): typeof defaultCapabilities {
  const known = Object.entries(said).filter(([, value]) => value !== undefined)
  return { ...defaultCapabilities, ...Object.fromEntries(known) }
}
