// Write with this model in a web page or in node: import { load } from "./textgen.mjs"; const write = await load();
import { AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer, Tensor, env } from "@huggingface/transformers";
import receipt from "./export.json" with { type: "json" };

const { protocol, pathname } = new URL(".", import.meta.url);
const folder = protocol === "file:" ? decodeURIComponent(pathname).replace(/^\/(?=\w:)/, "") : pathname;
env.allowLocalModels = true;
env.allowRemoteModels = false;
const text = receipt.text;

// dtype: "q8" (8 bits) or "fp32". Other options go to generate(): max_new_tokens, do_sample, temperature, streamer …
export async function load(dtype = "q8") {
  const Model = text.kind === "causal" ? AutoModelForCausalLM : AutoModelForSeq2SeqLM;
  const tokenizer = await AutoTokenizer.from_pretrained(folder);
  const model = await Model.from_pretrained(folder, { dtype });
  return async (prompt = "", options = {}) => {
    const body = prompt ? tokenizer.encode(prompt, { add_special_tokens: false }) : [];
    let ids = [...text.prefix, ...body, ...text.suffix];
    if (!ids.length) ids = text.begin;
    const as = (numbers) => new Tensor("int64", BigInt64Array.from(numbers, BigInt), [1, numbers.length]);
    const given = { input_ids: as(ids), attention_mask: as(ids.map(() => 1)) };
    const out = await model.generate({ ...given, max_new_tokens: 100, do_sample: true, temperature: 0.7, top_k: 0, ...options });
    const tokens = out.tolist()[0].map(Number);
    return { text: tokenizer.decode(tokens, { skip_special_tokens: true }), tokens };
  };
}
