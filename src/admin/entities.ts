import type { AccountDraft } from '../directory/accounts.ts'
import type { Account, Group, User } from '../directory/entities.ts'
import type { GroupDraft } from '../directory/groups.ts'
import type { PriceDraft } from '../directory/price-line.ts'
import type { UserDraft } from '../directory/users.ts'
import { formatDecimal, formatUsd, parseDecimal, parseUsd } from '../ledger/money.ts'
import type { PriceVersion } from '../ledger/price.ts'
import { fullCapabilities, type SetupAccount, type SetupGroup, type SetupPrice, type SetupUser } from './setup.ts'

/** Between how the API and setup.yaml say a thing (names, decimal text) and how the directory holds it (ids, integers). */

export function groupOfSetup({ multiplier, ...said }: SetupGroup): GroupDraft {
  return { ...said, multiplier: parseDecimal(multiplier) }
}

export function setupOfGroup({ id: _id, createdAtMs: _createdAtMs, multiplier, ...same }: Group): SetupGroup {
  return { ...same, multiplier: formatDecimal(multiplier) }
}

/** `groupIds` are those of the groups it names, and `apiKey` what it has when nothing is said. */
export function accountOfSetup(said: SetupAccount, groupIds: readonly string[], apiKey: string): AccountDraft {
  const { groups: _, capabilities, ...same } = said
  return {
    ...same,
    disabled: said.disabled ?? false,
    apiKey: said.apiKey ?? apiKey,
    groupIds,
    capabilities: fullCapabilities(capabilities),
  }
}

/** Without the API key, which is told to nobody. The order of its groups means nothing. */
export function setupOfAccount(account: Account, groupNames: ReadonlyMap<string, string>) {
  const { id: _id, apiKey: _apiKey, createdAtMs: _createdAtMs, groupIds, models, capabilities, ...same } = account
  return { ...same, groups: namesOf(groupIds, groupNames).toSorted(), models: { ...models }, capabilities: { ...capabilities } }
}

/** The last four characters, to tell keys apart; none of a key so short that they would give it away. */
export function apiKeyHint(apiKey: string): string {
  return apiKey.length < 16 ? '…' : `…${apiKey.slice(-4)}`
}

export function userOfSetup(said: SetupUser): UserDraft {
  return { ...said, disabled: said.disabled ?? false }
}

export function setupOfUser({ email, concurrency, requestsPerMinute, tokensPerMinute, disabled }: User): UserDraft {
  return { email, concurrency, requestsPerMinute, tokensPerMinute, disabled }
}

/** What is left out costs what fresh input costs. */
export function priceOfSetup(said: SetupPrice): PriceDraft {
  const cacheWrite = parseUsd(said.cacheWrite ?? said.input)
  return {
    ...said,
    input: parseUsd(said.input),
    cached: parseUsd(said.cached ?? said.input),
    cacheWrite,
    cacheWrite12h: said.cacheWrite12h === undefined ? cacheWrite : parseUsd(said.cacheWrite12h),
    output: parseUsd(said.output),
    webSearch: said.webSearch === null ? null : parseUsd(said.webSearch),
    fileSearch: said.fileSearch === null ? null : parseUsd(said.fileSearch),
  }
}

export function setupOfPrice(price: PriceDraft | PriceVersion) {
  return {
    model: price.model,
    tier: price.tier,
    contextOver: price.contextOver,
    input: formatUsd(price.input),
    cached: formatUsd(price.cached),
    cacheWrite: formatUsd(price.cacheWrite),
    cacheWrite12h: formatUsd(price.cacheWrite12h),
    output: formatUsd(price.output),
    webSearch: usdOrNull(price.webSearch),
    fileSearch: usdOrNull(price.fileSearch),
    maxOutput: price.maxOutput,
    aliases: [...price.aliases],
    source: price.source,
  }
}

export function usdOrNull(nanos: bigint | null): string | null {
  return nanos === null ? null : formatUsd(nanos)
}

/** What was said before, with the fields that a change has in place of its own. */
export function withChanges<Said extends object>(said: Said, changes: { readonly [Field in keyof Said]?: Said[Field] | undefined }): Said {
  const given = Object.entries(changes).filter(([, value]) => value !== undefined)
  return { ...said, ...Object.fromEntries(given) }
}

/** RFC 3339 in UTC. */
export function timeText(ms: number): string {
  return new Date(ms).toISOString()
}

/** The day of UTC, such as 2026-01-31. */
export function dayText(ms: number): string {
  return timeText(ms).slice(0, 'yyyy-mm-dd'.length)
}

export function timeTextOrNull(ms: number | null): string | null {
  return ms === null ? null : timeText(ms)
}

/** Names for ids; an id that has none any more stands for itself. */
export function namesOf(ids: readonly string[], names: ReadonlyMap<string, string>): string[] {
  return ids.map(id => names.get(id) ?? id)
}
