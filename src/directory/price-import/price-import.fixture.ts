/** A small file of LiteLLM's form, with numbers of its own. */
export const litellmFile = `{
  "sample_spec": { "input_cost_per_token": 0.0, "litellm_provider": "one of https://docs.example/providers" },
  "m-long": {
    "litellm_provider": "openai", "mode": "responses", "max_output_tokens": 64000, "supported_regions": ["global"],
    "input_cost_per_token": 1.25e-06, "input_cost_per_token_above_272k_tokens": 2.5e-06,
    "input_cost_per_token_priority": 2.5e-06, "input_cost_per_token_flex": 6.25e-07, "input_cost_per_token_batches": 6.25e-07,
    "input_cost_per_token_above_272k_tokens_flex": 1.25e-06,
    "cache_read_input_token_cost": 1.25e-07, "cache_read_input_token_cost_above_272k_tokens": 2.5e-07,
    "cache_read_input_token_cost_priority": 2.5e-07, "cache_read_input_token_cost_flex": 6.25e-08,
    "cache_creation_input_token_cost": 1.5625e-06,
    "output_cost_per_token": 1e-05, "output_cost_per_token_above_272k_tokens": 1.5e-05, "output_cost_per_token_above_272k_tokens_flex": 7.5e-06,
    "output_cost_per_token_priority": 2e-05, "output_cost_per_token_flex": 5e-06, "output_cost_per_token_batches": 5e-06,
    "search_context_cost_per_query": { "search_context_size_low": 0.01, "search_context_size_medium": 0.01, "search_context_size_high": 0.01 }
  },
  "m-plain": {
    "litellm_provider": "openai", "mode": "chat", "max_tokens": "whatever", "input_cost_per_token": 3.3e-08, "output_cost_per_token": 0.00000012,
    "search_context_cost_per_query": { "search_context_size_low": 0.025, "search_context_size_high": 0.05 }
  },
  "m-embeds": { "litellm_provider": "openai", "mode": "embedding", "input_cost_per_token": 1e-07, "output_cost_per_token": 0.0 },
  "m-hears": { "litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1e-07, "output_cost_per_token": 1e-07, "input_cost_per_audio_token": 1e-05 },
  "openai/m-long": { "litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 9e-06, "output_cost_per_token": 9e-06 },
  "other": { "litellm_provider": "azure", "mode": "chat", "input_cost_per_token": 9e-06, "output_cost_per_token": 9e-06 }
}`
