"""Which variants of tests wait for `make test-all`.

A test of many variants shows most with a few of them. `make test`, which is run before every commit, takes those; the
others are marked slow. A name is that of a test or of a file; the pattern is searched in the name of the variant.
"""

import re

_ONE_OF_A_KIND = r"^(?!(gpt2|gpt_neo|llama|gemma2|bloom|mamba|t5|bart)$)"  # of the architectures
_MORE_FAMILIES = "tinyllama|phi3|mistral|qwen2|phi|gpt_neox|deepseek|smollm|xlmr|roberta|falcon"
WAITING = {
    "test_a_long_document_is_cut_without_a_trace": "",
    "test_a_megabyte_of_mixed_scripts": "",
    "test_a_trained_model_writes_the_same_in_any_batch": "seq2seq",
    "test_an_adapter_on_and_off": "packed|bf16",
    "test_an_empty_prompt_begins_as_the_documents_do": "^(gpt2|folder)",
    "test_another_model_in_the_way": "^demo",
    "test_any_bytes": r"-line$|\*\*\*$",
    "test_any_order_any_number_of_times": "^text|^poems",
    "test_any_text": "albert",
    "test_any_texts_come_back": "gzip",
    "test_blocks_of_a_terminal": "each",
    "test_ctrl_c_twice": "",
    "test_data_is_read": "seq2seq",
    "test_every_change_is_seen_by_every_engine": r"^(?!native-|.*-one_number$)",
    "test_every_flipped_byte": "gzip",
    "test_families.py": rf"^({_MORE_FAMILIES})\b",
    "test_few_shapes": "^2-",
    "test_greedy_is_transformers_own": _ONE_OF_A_KIND,
    "test_growing_hard_texts": "albert",
    "test_killed_at_many_steps": "samples|tokenizer",
    "test_killed_at_random": "samples|cache",
    "test_less_than_a_tenth_is_filled_up": "^(4|8|32)-|-news-",
    "test_longer_than_the_context": "^(mistral|gemma2|mamba|bart)$",
    "test_many_at_once_are_encoded_like_each_alone": "narrow",
    "test_models_learn_and_a_run_repeats": "^(text|spans)",
    "test_much_text_of_every_kind": "",
    "test_no_torch_is_imported": "no network|to a file|quantized|tokenizer",
    "test_poems": "albert",
    "test_poems_take_few_more_tokens": "albert",
    "test_right_or_doubtful": r"^(utf-32|utf-16-be|cp\d\d\d$|cp125[3-8]|iso8859-\d|euc|iso2022|big5hk|gb2312|koi8-u)",
    "test_rows_are_given_on": _ONE_OF_A_KIND,
    "test_the_batch_has_no_influence": _ONE_OF_A_KIND,
    "test_trained_weights_write_as_transformers_do": "llama|packed-gpt2",
    "test_two_processes_resume": "",
    "test_what_ends_fits": "causal-fields|seq2seq-(json|regex|choice)",
}


def waits(test, file, variant):
    "Whether a variant of a test waits for `make test-all`."
    patterns = [WAITING[name] for name in (test, file) if name in WAITING]
    return any(re.search(pattern, variant) for pattern in patterns)


def unknown(tests, files):
    "The names above that are of no test and of no file."
    return WAITING.keys()-tests-files
