import { callMost, type Decimal, divideHalfUp } from './money.ts'

/** Tokens and hosted tools of one answer, by kind. `input` includes cached and written; `output` includes reasoning. */
export interface Usage {
  readonly inputTokens: number
  readonly cachedTokens: number
  readonly cacheWriteTokens: number
  readonly cacheWrite12hTokens: number
  readonly outputTokens: number
  readonly reasoningTokens: number
  readonly webSearches: number
  readonly fileSearches: number
}

export const noUsage: Usage = {
  inputTokens: 0,
  cachedTokens: 0,
  cacheWriteTokens: 0,
  cacheWrite12hTokens: 0,
  outputTokens: 0,
  reasoningTokens: 0,
  webSearches: 0,
  fileSearches: 0,
}

/** One line of the price book. Rates are nano-dollars per million tokens; per-call rates are nano-dollars per call. */
export interface PriceVersion {
  readonly id: string
  readonly model: string
  /** `default`, `flex`, `priority`, `fast`, `batch`, … as the response's `service_tier` says it. */
  readonly tier: string
  /** The band: this line counts when the whole input has more tokens than this. 0 is the first band. */
  readonly contextOver: number
  readonly input: bigint
  readonly cached: bigint
  readonly cacheWrite: bigint
  readonly cacheWrite12h: bigint
  readonly output: bigint
  readonly webSearch: bigint | null
  readonly fileSearch: bigint | null
  /** The most output tokens the model can make, or null when nobody said. */
  readonly maxOutput: number | null
  /** Other names of the same model, such as dated snapshots. Exact, never fuzzy. */
  readonly aliases: readonly string[]
  readonly source: string | null
  readonly effectiveFromMs: number
  readonly effectiveToMs: number | null
}

export type Multiplier = Decimal

/** The prices of every model, for all times. Pure: built anew when a line is added. */
export interface PriceBook {
  /**
   * The name under which the book has this model at that moment: its own; the one whose line states it as an alias; or, for a
   * dated snapshot of which nobody said anything, the model without the date. Undefined unless the model has its default tier
   * from the first token on: whatever it is then served as, something prices it.
   */
  resolve(model: string, atMs: number): string | undefined

  /**
   * The line that priced a call which began at `atMs`. A tier the book does not have for this model is priced as
   * `default`, because nobody may be charged a rate that nobody stated; the line says by its own tier that it was.
   * `fast` and `priority` are priced as each other, because upstreams name the same tier either way.
   */
  find(asked: PriceQuestion): PriceVersion | undefined

  /**
   * The lines by which the call could turn out dearest, whichever of these tiers it is served in, or in the default because an
   * upstream lowered it, and however much less than `contextTokens` its input turns out to be. Usually one line; several only
   * where one asks more for input and another for output.
   */
  dearest(asked: Omit<PriceQuestion, 'tier'> & { readonly tiers: readonly string[] }): readonly PriceVersion[]
}

export interface PriceQuestion {
  readonly model: string
  readonly tier: string
  /** Tokens of the whole input, cached ones included. */
  readonly contextTokens: number
  readonly atMs: number
}

export function openPriceBook(versions: readonly PriceVersion[]): PriceBook {
  const turns = turnsOf(versions)
  /** By how many turns have passed: nothing changes between two of them, so what stands there is sorted once. */
  const periods: Standing[] = []

  function at(atMs: number): Standing {
    const passed = passedOf(turns, atMs)
    let standing = periods[passed]
    if (standing === undefined) {
      standing = openStanding(versions.filter(version => isEffective(version, atMs)))
      periods[passed] = standing
    }
    return standing
  }

  return {
    resolve: (model, atMs) => at(atMs).resolve(model),
    find: ({ model, tier, contextTokens, atMs }) => at(atMs).find(model, tier, contextTokens),
    dearest: ({ model, tiers, contextTokens, atMs }) => at(atMs).dearest(model, tiers, contextTokens),
  }
}

/** Every moment at which a line begins or ends, in order. */
function turnsOf(versions: readonly PriceVersion[]): readonly number[] {
  const moments = versions.flatMap(({ effectiveFromMs, effectiveToMs }) => [effectiveFromMs, effectiveToMs])
  return [...new Set(moments)].filter(moment => moment !== null).sort((a, b) => a - b)
}

function passedOf(turns: readonly number[], atMs: number): number {
  let passed = turns.length
  while (passed > 0 && turns[passed - 1]! > atMs) passed -= 1
  return passed
}

/** The price book of one period, in which no line begins or ends. */
interface Standing {
  resolve(model: string): string | undefined
  find(model: string, tier: string, contextTokens: number): PriceVersion | undefined
  dearest(model: string, tiers: readonly string[], contextTokens: number): readonly PriceVersion[]
}

/** Clients say models, so what is remembered of them has an end. A longer name than any model has is looked up each time. */
const rememberedMax = 1_000
const rememberedCharsMax = 200

function openStanding(versions: readonly PriceVersion[]): Standing {
  const byTier = new Map([...Map.groupBy(versions, version => version.model)].map(([model, lines]) => [model, tiersOf(lines)]))
  const byAlias = new Map<string, PriceVersion[]>()
  for (const version of versions) {
    for (const alias of version.aliases) byAlias.set(alias, [...(byAlias.get(alias) ?? []), version])
  }
  const names = new Map<string, string | undefined>()
  const dearests = new Map<string, readonly PriceVersion[]>()

  function resolve(model: string): string | undefined {
    if (names.has(model)) return names.get(model)
    const name = nameOf(model)
    const isWhole =
      name !== undefined &&
      byTier
        .get(name)
        ?.get('default')
        ?.some(version => version.contextOver === 0)
    const resolved = isWhole ? name : undefined
    return model.length > rememberedCharsMax ? resolved : remembered(names, model, resolved)
  }

  function nameOf(model: string): string | undefined {
    return byTier.has(model) ? model : (latest(byAlias.get(model) ?? [])?.model ?? withoutDate(model))
  }

  function find(model: string, tier: string, contextTokens: number): PriceVersion | undefined {
    const name = resolve(model)
    if (name === undefined) return undefined
    for (const served of tiersLike(tier)) {
      const found = byTier
        .get(name)!
        .get(served)
        ?.find(version => isInBand(version, contextTokens))
      if (found !== undefined) return found
    }
    return undefined
  }

  return {
    resolve,
    find,
    dearest(model, tiers, contextTokens) {
      const usual = find(model, 'default', contextTokens)
      // What most calls come to, and what is remembered of it is found without putting names together.
      const isUsual = usual !== undefined && tiers.every(tier => find(model, tier, contextTokens) === usual)
      const found = isUsual ? [usual] : [...tiers.map(tier => find(model, tier, contextTokens)), usual].filter(line => line !== undefined)
      const asked = isUsual ? usual.id : found.map(({ id }) => id).join(' ')
      const known = dearests.get(asked)
      if (known !== undefined) return known
      const lines = [...new Set(found.flatMap(line => bandsTo(line, byTier.get(line.model)!.get(line.tier)!)))]
      return remembered(
        dearests,
        asked,
        lines.filter(line => !lines.some(other => isDearer(other, line))),
      )
    },
  }
}

/** The line that prices a call, and those of its tier that would if the input were in a band below. */
function bandsTo(found: PriceVersion, ofTier: readonly PriceVersion[]): PriceVersion[] {
  const lines = ofTier.filter(version => version.contextOver <= found.contextOver)
  return lines.filter((version, index) => version.contextOver !== lines[index - 1]?.contextOver)
}

function remembered<Value>(memory: Map<string, Value>, name: string, value: Value): Value {
  if (memory.size >= rememberedMax) memory.clear()
  memory.set(name, value)
  return value
}

/** By tier; in each the highest band first, and in that the line that holds when several claim the same moment. */
function tiersOf(lines: readonly PriceVersion[]): ReadonlyMap<string, readonly PriceVersion[]> {
  const sorted = lines.toSorted((a, b) => b.contextOver - a.contextOver || byAge(a, b))
  return Map.groupBy(sorted, ({ tier }) => tier)
}

/**
 * "gpt-5.5-2026-04-23" → "gpt-5.5": the one rule for dated snapshots, which is OpenAI's own way of naming them. The end must be
 * a day of the calendar. Nothing else about a name means anything: "gpt-5.5-mini" has nothing to do with "gpt-5.5".
 */
export function withoutDate(model: string): string | undefined {
  const [, base, year, month, day] = /^(.+)-(\d{4})-(\d{2})-(\d{2})$/.exec(model) ?? []
  // JavaScript takes the 30th of February for the 2nd of March.
  const date = new Date(Date.UTC(Number(year), Number(month) - 1, Number(day)))
  return date.getUTCMonth() === Number(month) - 1 && date.getUTCDate() === Number(day) ? base : undefined
}

/** Whether the line is of the tier that was served, and not the default one in its place. */
export function hasTier(line: PriceVersion, served: string): boolean {
  return line.tier === served || tiersLike(served).slice(0, -1).includes(line.tier)
}

/**
 * What this usage costs, in nano-dollars, rounded half up once, at the very end.
 *
 * `cacheWriteTokens` is all that was written to the cache, `cacheWrite12hTokens` the part of it kept for twelve hours; each
 * is billed at its own rate *instead of* the input rate. Reasoning is output. A tool without a price is free. Never more than `callMost`.
 */
export function costOf(usage: Usage, price: PriceVersion, multiplier: Multiplier): bigint {
  const cost = divideHalfUp(exactCost(usage, price) * multiplier.units, perMillionTimes(multiplier))
  return cost < callMost ? cost : callMost
}

/**
 * The most that one token of input may cost: it can turn out fresh, read from the cache or written to it; for the usual time,
 * unless the client asked for twelve hours.
 */
export function dearestInput({ input, cached, cacheWrite, cacheWrite12h }: PriceVersion, cachesFor12h = false): bigint {
  let most = input
  if (cached > most) most = cached
  if (cacheWrite > most) most = cacheWrite
  if (cachesFor12h && cacheWrite12h > most) most = cacheWrite12h
  return most
}

/** Rates are per this many tokens. */
export const perMillion = 1_000_000n

const perMillionByScale: bigint[] = []

/** What an exact cost times the multiplier's units is to be divided by. Every call asks it some times, and to raise to a power takes long. */
export function perMillionTimes({ scale }: Pick<Multiplier, 'scale'>): bigint {
  perMillionByScale[scale] ??= perMillion * 10n ** BigInt(scale)
  return perMillionByScale[scale]
}

/** In nano-dollars × 10⁶, so that nothing is rounded yet. */
function exactCost(usage: Usage, price: PriceVersion): bigint {
  const kept12h = Math.min(usage.cacheWrite12hTokens, usage.cacheWriteTokens)
  const fresh = Math.max(0, usage.inputTokens - usage.cachedTokens - usage.cacheWriteTokens)
  const tokens =
    BigInt(fresh) * price.input +
    BigInt(usage.cachedTokens) * price.cached +
    BigInt(usage.cacheWriteTokens - kept12h) * price.cacheWrite +
    BigInt(kept12h) * price.cacheWrite12h +
    BigInt(usage.outputTokens) * price.output
  const calls = BigInt(usage.webSearches) * (price.webSearch ?? 0n) + BigInt(usage.fileSearches) * (price.fileSearch ?? 0n)
  return tokens + calls * perMillion
}

function isEffective(version: PriceVersion, atMs: number): boolean {
  return version.effectiveFromMs <= atMs && (version.effectiveToMs === null || atMs < version.effectiveToMs)
}

/** The first band has even an empty input in it. */
function isInBand(version: PriceVersion, contextTokens: number): boolean {
  return version.contextOver === 0 || contextTokens > version.contextOver
}

function tiersLike(tier: string): readonly string[] {
  if (tier === 'fast') return ['fast', 'priority', 'default']
  if (tier === 'priority') return ['priority', 'fast', 'default']
  return [tier, 'default']
}

/** When two lines claim the same moment the newer one holds; of two equally new ones, the later id, so that all nodes agree. */
function byAge(a: PriceVersion, b: PriceVersion): number {
  return b.effectiveFromMs - a.effectiveFromMs || (a.id < b.id ? 1 : -1)
}

function latest(lines: readonly PriceVersion[]): PriceVersion | undefined {
  return lines.toSorted(byAge)[0]
}

function isDearer(line: PriceVersion, than: PriceVersion): boolean {
  const more = [dearestInput(line) - dearestInput(than), dearestInput(line, true) - dearestInput(than, true), line.output - than.output]
  return line !== than && more.every(by => by >= 0n) && (more.some(by => by > 0n) || line.id > than.id)
}
