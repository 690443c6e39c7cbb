/** The responses that were stored, each known to its own key only. */
export interface Memory {
  /** `tokens`: of the whole context that a next call takes up again. */
  keep(key: string, responseId: string, tokens: number): void
  /** The context's tokens; undefined for what is unknown, forgotten or another key's. */
  find(key: string, responseId: string): number | undefined
}

const responsesMax = 100_000

export function openMemory(): Memory {
  const tokensByResponse = new Map<string, { readonly key: string; readonly tokens: number }>()
  return {
    keep(key, responseId, tokens) {
      tokensByResponse.set(responseId, { key, tokens })
      if (tokensByResponse.size <= responsesMax) return
      for (const oldest of tokensByResponse.keys()) return void tokensByResponse.delete(oldest)
    },
    find(key, responseId) {
      const kept = tokensByResponse.get(responseId)
      return kept?.key === key ? kept.tokens : undefined
    },
  }
}
