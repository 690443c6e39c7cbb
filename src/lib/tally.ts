import type { Registry } from 'prom-client'

/**
 * Metrics that are counted with every call, and told when somebody scrapes. prom-client's own check and hash the labels at each count,
 * which comes to some ten microseconds a call.
 */
export interface MetricOptions {
  /** Ends in its unit, or in `_total`. */
  readonly name: string
  readonly help: string
  readonly registry: Registry
}

type Labels<Label extends string> = Readonly<Record<Label, string>>

/** What prom-client makes of one line: see its `MetricValue`. */
interface Told {
  readonly value: number
  readonly labels: Readonly<Record<string, string | number>>
  readonly metricName?: string
}

/** Counts up, and is told from the start. */
export class Count {
  readonly name: string
  readonly #help: string
  #value = 0

  constructor({ name, help, registry }: MetricOptions) {
    this.name = name
    this.#help = help
    register(registry, this)
  }

  inc(by = 1): void {
    this.#value += by
  }

  async get() {
    const values: Told[] = [{ labels: {}, value: this.#value }]
    return { name: this.name, help: this.#help, type: 'counter', values, aggregator: 'sum' }
  }
}

/** Counts up by labels. Each combination is told from its first count on. */
export class Tally<Label extends string> {
  readonly name: string
  readonly #help: string
  readonly #labelNames: readonly Label[]
  readonly #counts = new Map<string, { readonly labels: Labels<Label>; value: number }>()

  constructor({ name, help, labelNames, registry }: MetricOptions & { readonly labelNames: readonly Label[] }) {
    this.name = name
    this.#help = help
    this.#labelNames = labelNames
    register(registry, this)
  }

  inc(labels: Labels<Label>, by = 1): void {
    let key = ''
    for (const label of this.#labelNames) key += `${labels[label]}\n`
    const count = this.#counts.get(key)
    if (count === undefined) this.#counts.set(key, { labels: { ...labels }, value: by })
    else count.value += by
  }

  async get() {
    const values: Told[] = [...this.#counts.values()].map(({ labels, value }) => ({ labels, value }))
    return { name: this.name, help: this.#help, type: 'counter', values, aggregator: 'sum' }
  }
}

/** How values are spread over buckets: each is counted in the first bucket that it is not above. */
export class Spread {
  readonly name: string
  readonly #help: string
  readonly #bounds: readonly number[]
  /** Not yet added up; the last is of what is above all bounds. */
  readonly #counts: number[]
  #sum = 0

  constructor({ name, help, bounds, registry }: MetricOptions & { readonly bounds: readonly number[] }) {
    this.name = name
    this.#help = help
    this.#bounds = bounds
    this.#counts = Array.from({ length: bounds.length + 1 }, () => 0)
    register(registry, this)
  }

  observe(value: number): void {
    let bucket = 0
    while (bucket < this.#bounds.length && value > this.#bounds[bucket]!) bucket += 1
    this.#counts[bucket]! += 1
    this.#sum += value
  }

  async get() {
    const { name } = this
    let count = 0
    const values: Told[] = this.#counts.map((more, bucket) => {
      count += more
      return { metricName: `${name}_bucket`, labels: { le: this.#bounds[bucket] ?? '+Inf' }, value: count }
    })
    values.push({ metricName: `${name}_sum`, labels: {}, value: this.#sum }, { metricName: `${name}_count`, labels: {}, value: count })
    return { name, help: this.#help, type: 'histogram', values, aggregator: 'sum' }
  }
}

/** All that a registry asks of a metric is its name and `get`, which its types do not say. */
function register(registry: Registry, metric: Count | Tally<string> | Spread): void {
  registry.registerMetric(metric as unknown as Parameters<Registry['registerMetric']>[0])
}
