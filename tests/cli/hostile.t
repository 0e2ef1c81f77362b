#!/usr/bin/perl
# SPDX-License-Identifier: MIT
# Hostile and broken input, end to end, for every program: each case must end with status 2 (never a crash,
# never a
# success), with a message on standard error that names what is wrong, and with the disk exactly as it was.
# FT_SHOW=1
# prints every message, for reading them as a user would.
use strict;
use warnings;
use File::Path qw(make_path remove_tree);
use POSIX ();
use FindBin;
use lib "$FindBin::Bin/../tap";
use Programs;
use Test::More;

my @programs = qw(ft-eval ft-generate ft-lint ft-merge ft-split ft-tokenize ft-train ft-verify ft-vocab);
my $sanitized = slurp("$bin/ft-verify") =~ /__[at]san_init/; # reserves terabytes of addresses itself
delete $ENV{FT_CPU};

my ($owner, $mounted) = ($$, 0);
END { # before the directory is removed
    if ($mounted && $$ == $owner) {
        my $status = $?;
        system 'umount', "$tmp/w/small";
        $? = $status;
    }
}

# --- good inputs, made on the spot --------------------------------------------------------------------------

my %config = (architectures => '["LlamaForCausalLM"]', model_type => '"llama"', hidden_size => 16,
    intermediate_size => 24,
    num_hidden_layers => 1, num_attention_heads => 2, num_key_value_heads => 1, vocab_size => 300,
        rms_norm_eps => '1e-05',
    max_position_embeddings => 64, rope_theta => '10000.0', hidden_act => '"silu"',
        tie_word_embeddings => 'true',
    bos_token_id => 0, eos_token_id => 0, torch_dtype => '"float32"');

sub object { my %pairs = @_; return '{' . join(', ', map { qq("$_": $pairs{$_}) } sort keys %pairs) . '}' }

sub good {
    my ($command) = @_;
    my ($status, $out, $message) = run($command);
    return if !$status;
    BAIL_OUT("a good input is refused: $command: $message");
}

my @words = qw(where is my order broken grinder coffee late refund please thanks bag roast filter cancel);
my $data = join '', map {
    sprintf qq({"prompt": "%d %s %s?", "completion": "%s %s.", "label": "%s"}\n), $_,
        @words[$_ % 14, $_ * 5 % 14],
        @words[$_ * 3 % 14, $_ * 11 % 14], $words[$_ % 3] } 1 .. 16;
spit('data.jsonl', $data);
spit('prompts.jsonl', join "\n", (split /\n/, $data)[0 .. 1]);
mkdir 'start';
spit('start/config.json', object(%config));
good('ft-vocab -n 300 -o start/tokenizer.json data.jsonl');
good('ft-tokenize -m start -o tokens.ftok data.jsonl');
good('ft-train -q --threads 1 -m start --init random -t tokens.ftok -s steps=1 -s save.state=false -o base');
good('ft-train -q --threads 1 -m base -t tokens.ftok -s steps=1 -s lora.rank=2 -o adapter');
good('ft-train -q --threads 1 -m base -t tokens.ftok -s steps=4 -s lora.rank=2 -s save_every=1 --until 2'
    . ' -o half');
good('ft-split -o split tokens.ftok');
good('ft-merge --threads 1 -m base -a adapter -o tuned');
mkdir 'foreign';
spit('foreign/thesis.txt', "not ft's\n");
my %base = map { $_ => slurp("base/$_") } qw(config.json tokenizer.json model.safetensors);
my %adapter = map { $_ => slurp("adapter/$_") } qw(adapter_config.json adapter_model.safetensors);
my $stream = slurp('tokens.ftok');

# A directory with some files of a good one replaced (undef: left out).
sub directory {
    my ($name, $good, %other) = @_;
    remove_tree($name);
    mkdir $name or die "$name: $!\n";
    my %files = (%$good, %other);
    defined $files{$_} and spit("$name/$_", $files{$_}) for keys %files;
}

my %use = (
    generate => 'ft-generate --threads 1 -m bad -n 2 prompts.jsonl',
    train => 'ft-train -q --threads 1 -m bad -t tokens.ftok -s steps=1 -o out',
    random => 'ft-train -q --threads 1 -m bad --init random -t tokens.ftok -s steps=1 -o out',
    eval => 'ft-eval --threads 1 -m bad -o out tokens.ftok',
    merge => 'ft-merge --threads 1 -m bad -a adapter -o out',
    tokenize => 'ft-tokenize -m bad -o out.ftok data.jsonl',
    lint => 'ft-lint -m bad --fix out.ftok data.jsonl',
);

# refuse_model NAME USE PATTERN FILE => CONTENTS...: the base model with these files instead of its own.
sub refuse_model {
    my ($name, $use, $pattern, %other) = @_;
    directory('bad', \%base, %other);
    refuse($name, $use{$use}, $pattern);
    remove_tree('bad');
}

# --- safetensors --------------------------------------------------------------------------------------------

my $header_size = unpack 'Q<', $base{'model.safetensors'};
my $header = substr($base{"model.safetensors"}, 8, $header_size) =~ s{ +$}{}r;
my $weights = substr $base{'model.safetensors'}, 8 + $header_size;
sub safetensors { my ($text, $bytes) = @_; return pack('Q<', length $text) . $text . ($bytes // $weights) }
my $norm = '"model\.norm\.weight":\{"dtype":"F32","shape":\[16\],"data_offsets":\[(\d+),(\d+)\]\}';
$header =~ /$norm/ or die "the header is other than expected: $header\n";
my ($norm_begin, $norm_end) = ($1, $2);

sub edited {
    my ($from, $to, $in) = @_;
    my $text = $in // $header;
    $text =~ s/$from/$to/ or die "no $from\n";
    return $text;
}

sub described {
    my ($name, $dtype, $shape, $begin, $end) = @_;
    return qq("$name":{"dtype":"$dtype","shape":[$shape],"data_offsets":[$begin,$end]});
}

# The header with another description of the last norm, or with a tensor more.
sub norm_as {
    my ($dtype, $shape, $begin, $end) = @_;
    return edited($norm,
        described('model.norm.weight', $dtype, $shape, $begin // $norm_begin, $end // $norm_end));
}
sub and_tensor { return edited('\}\}$', '},' . described(@_) . '}') }

sub number_at { my ($bytes, $offset, $float) = @_; substr($bytes, $offset, 4) = $float; return $bytes }

my $file = qr/bad\/model\.safetensors/;
my @weights = (
    ['empty', 'generate', qr/$file.*0 bytes/, ''],
    ['five bytes', 'train', qr/$file/, 'abcde'],
    ['a length and nothing behind', 'generate', qr/$file.*(cut|header)/, pack 'Q<', 100],
    ['a header length of 2^63', 'eval', qr/$file.*header/, pack('Q<', 1 << 63) . $header . $weights],
    ['a header length of 2^64-1', 'generate', qr/$file.*header/, "\xff" x 8 . $header . $weights],
    ['a header longer than the file', 'train', qr/$file.*(cut|header)/,
        pack('Q<', 90_000_000) . $header . $weights],
    ['a header that is no JSON', 'generate', qr/$file/, safetensors('x' x 64)],
    ['a header that is a list', 'generate', qr/$file/, safetensors('[1,2,3]')],
    ['a header cut in the middle', 'train', qr/$file/, safetensors(substr $header, 0, 300)],
    ['weights cut at the end', 'eval', qr/$file.*(cut|bytes|ends)/,
        safetensors($header, substr $weights, 0, -4)],
    ['bytes behind the weights', 'generate', qr/$file.*bytes/, safetensors($header, $weights . "\0" x 64)],
    ['overlapping tensors', 'generate', qr/$file/, safetensors(edited('"data_offsets":\[19200,19264\]',
        '"data_offsets":[19136,19200]'))],
    ['a hole between tensors', 'train', qr/$file/,
        safetensors(norm_as('F32', 16, $norm_begin + 64, $norm_end + 64), $weights . "\0" x 64)],
    ['a tensor twice', 'generate', qr/$file.*model\.norm\.weight/,
        safetensors(and_tensor('model.norm.weight', 'F32', 16, $norm_begin, $norm_end))],
    ['a key twice in a tensor', 'generate', qr/$file.*dtype/,
        safetensors(edited('"dtype":"F32"', '"dtype":"F32","dtype":"F32"'))],
    ['an element type that cannot be', 'generate', qr/$file.*model\.embed_tokens\.weight.*F99/,
        safetensors(edited('"F32"', '"F99"'))],
    ['weights stored as integers', 'train', qr/$file.*model\.norm\.weight.*I32.*F32/,
        safetensors(norm_as('I32', 16))],
    ['a shape of another model', 'eval', qr/$file.*model\.norm\.weight.*\[4, 4\].*\[16\]/,
        safetensors(norm_as('F32', '4,4'))],
    ['a shape that does not fill its bytes', 'eval', qr/$file.*model\.norm\.weight/,
        safetensors(norm_as('F32', 17))],
    ['a shape whose product overflows', 'generate', qr/$file.*model\.norm\.weight/,
        safetensors(norm_as('F32', '4294967296,4294967296'))],
    ['a negative dimension', 'generate', qr/$file/, safetensors(edited('\[300,16\]', '[-300,16]'))],
    ['a dimension of one and a half', 'generate', qr/$file/, safetensors(edited('\[300,16\]', '[300,1.5]'))],
    ['offsets beyond 2^53', 'generate', qr/$file/, safetensors(edited('\[0,19200\]',
        '[9007199254740993,9007199254760193]'))],
    ['offsets beyond 2^64', 'generate', qr/$file/, safetensors(edited('\[0,19200\]',
        '[0,184467440737095516160]'))],
    ['an offset backwards', 'generate', qr/$file/, safetensors(edited('\[0,19200\]', '[19200,0]'))],
    ['a missing tensor', 'train', qr/$file.*model\.norm\.weight.*missing/,
        safetensors(edited('model\.norm\.weight', 'model.norm.weights'))],
    ['an unexpected tensor', 'generate', qr/$file.*model\.extra/,
        safetensors(and_tensor('model.extra', 'F32', 0, length $weights, length $weights))],
    ['a name for terminals to obey', 'generate', qr/$file.*\?\]0;owned\?/,
        safetensors(and_tensor('\u001b]0;owned\u0007', 'F32', 0, length $weights, length $weights))],
    ['metadata that are numbers', 'generate', qr/$file/, safetensors(edited('"format":"pt"', '"format":1'))],
    ['a header nested 100,000 deep', 'generate', qr/$file.*(deep|nest)/,
        safetensors('{"a":' x 100_000 . '1' . '}' x 100_000)],
    ['NaN in the weights', 'train', qr/model\.norm\.weight.*(NaN|finite)/,
        safetensors($header, number_at($weights, $norm_begin, "\x00\x00\xc0\x7f"))],
    ['an infinity in the weights', 'generate', qr/model\.norm\.weight.*(NaN|infinity|finite)/,
        safetensors($header, number_at($weights, $norm_begin, "\x00\x00\x80\x7f"))],
    ['NaN in the weights, evaluated', 'eval', qr/model\.norm\.weight.*(NaN|finite)/,
        safetensors($header, number_at($weights, $norm_begin, "\x00\x00\xc0\x7f"))],
    ['NaN in the weights, merged', 'merge', qr/adapter.*base with digest.*bad/,
        safetensors($header, number_at($weights, $norm_begin, "\x00\x00\xc0\x7f"))],
);
refuse_model("safetensors: $_->[0]", $_->[1], $_->[2], 'model.safetensors' => $_->[3]) for @weights;
refuse_model('safetensors: neither a file nor an index', 'generate', qr/bad.*model\.safetensors/,
    'model.safetensors' => undef);
my $index = 'model.safetensors.index.json';
my @index = (
    ['an index of a shard that is not there', qr/model-00001/,
        '{"metadata": {}, "weight_map": {"model.norm.weight": "model-00001-of-00001.safetensors"}}'],
    ['an index that leaves its directory', qr/index\.json.*\.\.|index\.json.*name/,
        '{"weight_map": {"model.norm.weight": "../base/model.safetensors"}}'],
    ['an index with an absolute path', qr/index\.json/,
        '{"weight_map": {"model.norm.weight": "/etc/passwd"}}'],
    ['an index without a map', qr/index\.json.*weight_map/, '{"metadata": {}}'],
);
refuse_model("safetensors: $_->[0]", 'generate', $_->[1], 'model.safetensors' => undef, $index => $_->[2])
    for @index;

# --- config.json --------------------------------------------------------------------------------------------

my @config = (
    ['no layers', {num_hidden_layers => 0}, qr/num_hidden_layers/],
    ['negative width', {hidden_size => -16}, qr/hidden_size/],
    ['a width of 1e300', {hidden_size => '1e300'}, qr/hidden_size/],
    ['a width of half a unit', {hidden_size => '16.5'}, qr/hidden_size/],
    ['a width in words', {hidden_size => '"sixteen"'}, qr/hidden_size/],
    ['a width of 2^64', {hidden_size => '18446744073709551616'}, qr/hidden_size/],
    ['a vocabulary of 2^40', {vocab_size => '1099511627776'}, qr/vocab_size/],
    ['no vocabulary', {vocab_size => 0}, qr/vocab_size/],
    ['a vocabulary smaller than the data\'s', {vocab_size => 200}, qr/vocab/],
    ['heads that do not divide', {num_attention_heads => 3}, qr/head/],
    ['more key heads than heads', {num_key_value_heads => 4}, qr/head/],
    ['an odd head dimension', {head_dim => 7}, qr/even/],
    ['no positions', {max_position_embeddings => 0}, qr/max_position_embeddings/],
    ['a negative epsilon', {rms_norm_eps => '-1e-5'}, qr/rms_norm_eps/],
    ['an epsilon of 1e-400', {rms_norm_eps => '1e-400'}, qr/rms_norm_eps/],
    ['an unknown family', {model_type => '"mamba"'}, qr/model_type.*mamba/],
    ['a family that is a number', {model_type => 7}, qr/model_type/],
    ['an unknown activation', {hidden_act => '"mish"'}, qr/hidden_act.*mish/],
    ['an unknown rotary scaling', {rope_scaling => '{"rope_type": "xpos", "factor": 4.0}'},
        qr/rope_scaling.*xpos/],
    ['a rotary scaling without its factor', {rope_scaling => '{"rope_type": "linear"}'}, qr/factor/],
    ['a rotary scaling by nothing', {rope_scaling => '{"rope_type": "yarn", "factor": 0}'}, qr/factor/],
    ['Llama 3 frequencies in the wrong order',
        {rope_scaling => '{"rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 1}'},
        qr/high_freq_factor/],
    ['too few divisors',
        {rope_scaling => '{"rope_type": "longrope", "factor": 2, "short_factor": [1, 1], '
            . '"long_factor": [1, 1]}'},
        qr/short_factor/],
    ['a divisor of zero',
        {rope_scaling => '{"rope_type": "longrope", "factor": 2, "short_factor": [1, 1, 0, 1], '
            . '"long_factor": []}'},
        qr/short_factor/],
    ['rotary parameters by layer', {rope_parameters => '{"full_attention": {"rope_type": "default"}}'},
        qr/rope_parameters/],
    ['a part of each head rotated', {partial_rotary_factor => '0.5'}, qr/partial_rotary_factor/],
    ['attention both ways', {model_type => '"gemma2"', use_bidirectional_attention => 'true'},
        qr/use_bidirectional_attention/],
    ['a cap of zero', {model_type => '"gemma2"', attn_logit_softcapping => 0}, qr/attn_logit_softcapping/],
    ['capped scores where they are not', {model_type => '"gemma3_text"', attn_logit_softcapping => 50},
        qr/attn_logit_softcapping.*gemma3_text/],
    ['one set of frequencies for two kinds of layer', {model_type => '"gemma3_text"',
        rope_parameters => '{"rope_type": "default"}'}, qr/rope_parameters/],
    ['a negative multiplier', {model_type => '"granite"', residual_multiplier => -1},
        qr/residual_multiplier/],
    ['logits divided by zero', {model_type => '"granite"', logits_scaling => 0}, qr/logits_scaling/],
    ['a share of a head that is no share', {model_type => '"gpt_neox"', rotary_pct => '1.5'}, qr/rotary_pct/],
    ['an odd number of rotated dimensions', {model_type => '"gpt_neox"', rotary_pct => '0.13'}, qr/even/],
    ['rotation by halves', {model_type => '"smollm3"', no_rope_layers => '[0.5]'}, qr/no_rope_layers/],
    ['no say on a layer\'s rotation', {model_type => '"smollm3"', no_rope_layers => '[]'},
        qr/no_rope_layers/],
    ['a window of zero', {model_type => '"mistral"', sliding_window => 0}, qr/sliding_window/],
    ['a layer type too many', {model_type => '"qwen2"',
        layer_types => '["full_attention", "full_attention"]'}, qr/layer_types.*2 entries for 1/],
    ['a layer type of another kind', {model_type => '"qwen2"', layer_types => '["linear_attention"]'},
        qr/layer_types.*linear_attention/],
    ['a window for a layer without its size', {model_type => '"qwen2"',
        layer_types => '["sliding_attention"]'}, qr/sliding_window/],
    ['a rotary base of zero', {rope_theta => 0}, qr/rope_theta/],
    ["biases in words", {attention_bias => '"yes"'}, qr/attention_bias/],
    ['quantized weights', {quantization_config => '{"bits": 4}'}, qr/quantiz/],
    ['an unknown element type', {torch_dtype => '"float8"'}, qr/float8/],
    ['an end token beyond the vocabulary', {eos_token_id => 300}, qr/eos_token_id/],
    ['a negative first token', {bos_token_id => -1}, qr/bos_token_id/],
    ['a hundred end tokens', {eos_token_id => '[' . join(',', 0 .. 99) . ']'}, qr/eos_token_id/],
);
for my $case (@config) {
    my ($name, $other, $pattern) = @$case;
    refuse_model("config.json: $name", 'random', qr/^ft-train: (bad|tokens\.ftok).*$pattern/,
        'config.json' => object(%config, %$other));
}
my @json = (
    ['empty', '', qr/config\.json/],
    ['a key twice', '{"model_type": "llama", "model_type": "gpt2"}', qr/config\.json.*model_type/],
    ['nested 100,000 deep', '[' x 100_000, qr/config\.json.*(deep|nest)/],
    ['a number of 100,000 digits', '{"hidden_size": ' . '9' x 100_000 . '}', qr/config\.json/],
    ['not finished', '{"model_type": "llama"', qr/config\.json:1/],
    ['words behind the object', object(%config) . ' x', qr/config\.json:1/],
    ['not UTF-8', "{\"model_type\": \"\xff\xfe\"}", qr/config\.json.*UTF-8/],
    ['a NUL', "{\"model_type\": \"llama\0\"}", qr/config\.json/],
    ['NaN', '{"hidden_size": NaN}', qr/config\.json/],
    ['a comment', "// mine\n" . object(%config), qr/config\.json:1/],
    ['a megabyte and more', object(%config, padding => '"' . 'x' x 1_200_000 . '"'),
        qr/config\.json.*(large|longer|more than|bytes)/],
);
refuse_model("config.json: $_->[0]", 'generate', $_->[2], 'config.json' => $_->[1]) for @json;
refuse_model('config.json: missing', 'generate', qr/bad\/config\.json.*No such file/, 'config.json' => undef);

# --- tokenizer.json -----------------------------------------------------------------------------------------

sub tokenizer { my ($from, $to) = @_; return edited($from, $to, $base{'tokenizer.json'}) }
my @tokenizer = (
    ['a hole in the ids', tokenizer('"!":34,', '"!":900,'), qr/hole|id/],
    ['an id twice', tokenizer('"!":34,', '"!":35,'), qr/35/],
    ['an id beyond 2^32', tokenizer('"!":34,', '"!":4294967297,'), qr/below 2\^32/],
    ['a negative id', tokenizer('"!":34,', '"!":-1,'), qr/-1|id|between|whole/],
    ['a merge of unknown pieces', tokenizer('"merges":\[', '"merges":[["zzz","yyy"],'), qr/merge/],
    ['a merge whose product is unknown', tokenizer('"merges":\[', '"merges":[["!","!"],'), qr/merge/],
    ['a merge of one piece', tokenizer('"merges":\[', '"merges":[["a"],'), qr/1:\d+: expected/],
    ['merges that are numbers', tokenizer('"merges":\[', '"merges":[7,'), qr/1:\d+: expected a string/],
    ['another kind of model', tokenizer('"type":"BPE"', '"type":"Unigram"'), qr/Unigram/],
    ['no model at all', '{"version": "1.0", "added_tokens": []}', qr/model/],
    ['a dropout', tokenizer('"dropout":null', '"dropout":0.1'), qr/dropout/],
    ['an unknown pre-tokenizer', tokenizer('"type":"ByteLevel","add_prefix_space":false',
        '"type":"Metaspaces","add_prefix_space":false'), qr/Metaspaces/],
    ['a regular expression that is none', tokenizer('"Regex":"', '"Regex":"((('),
        qr/\(\(\(|expression|pattern|regex/i],
    ['an added token beside the vocabulary', tokenizer('"id":0,"content"', '"id":7777,"content"'),
        qr/7777|endoftext|id/],
    ['an added token without text', tokenizer('"content":"<\|endoftext\|>"', '"content":""'),
        qr/added|content|empty/],
    ['a list', '[]', qr/1:1: expected/],
    ['a key twice', tokenizer('"version":"1.0",', '"version":"1.0","version":"1.0",'), qr/version/],
    ['nested 100,000 deep', '{"model":' x 100_000 . '1' . '}' x 100_000, qr/deep|nest|expected/],
    ['cut', substr($base{'tokenizer.json'}, 0, 2000), qr/1:2001: expected|is it cut/],
);
my @readers = qw(tokenize generate lint eval);
for my $i (0 .. $#tokenizer) {
    my ($name, $text, $pattern) = @{$tokenizer[$i]};
    refuse_model("tokenizer.json: $name", $readers[$i % @readers], qr/bad\/tokenizer\.json.*$pattern/,
        'tokenizer.json' => $text);
}
refuse_model('tokenizer.json: missing', 'tokenize', qr/bad: there is no tokenizer\.json/,
    'tokenizer.json' => undef);
refuse_model('tokenizer.json: of another model', 'train', qr/tokens\.ftok.*another tokenizer.*ft-tokenize/,
    'tokenizer.json' => tokenizer('"version"', ' "version"'));
refuse_model('tokenizer.json: of another model, evaluated', 'eval',
    qr/tokens\.ftok.*tokenizer.*ft-tokenize|tokens\.ftok.*tokenize again/,
    'tokenizer.json' => tokenizer('"version"', ' "version"'));

# --- records ------------------------------------------------------------------------------------------------

my @records = (
    ['nothing', '', qr/bad\.jsonl.*no records/],
    ['blank lines only', "\n\n\n", qr/bad\.jsonl:1.*ft-lint --fix/],
    ['no JSON', "hello\n", qr/bad\.jsonl:1/],
    ['a list', qq([1, 2]\n), qr/bad\.jsonl:1/],
    ['none of the keys', qq({"question": "a", "answer": "b"}\n), qr/bad\.jsonl:1.*(prompt|messages)/],
    ['half of a pair', qq({"prompt": "a"}\n), qr/bad\.jsonl:1.*completion/],
    ['a prompt that is a number', qq({"prompt": 7, "completion": "b"}\n), qr/bad\.jsonl:1.*prompt/],
    ['an empty answer', qq({"prompt": "a", "completion": ""}\n), qr/bad\.jsonl:1.*(empty|completion|learn)/],
    ['no message', qq({"messages": []}\n), qr/bad\.jsonl:1/],
    ['no answer among the messages', qq({"messages": [{"role": "user", "content": "a"}]}\n),
        qr/bad\.jsonl:1.*assistant/],
    ['an unknown role',
        qq({"messages": [{"role": "robot", "content": "a"}, {"role": "assistant", "content": "b"}]}\n),
        qr/bad\.jsonl:1.*robot/],
    ['every answer of weight 0',
        qq({"messages": [{"role": "user", "content": "a"}, )
            . qq({"role": "assistant", "content": "b", "weight": 0}]}\n),
        qr/bad\.jsonl:1.*(learn|weight|target)/],
    ['a message without content',
        qq({"messages": [{"role": "user"}, {"role": "assistant", "content": "b"}]}\n),
        qr/bad\.jsonl:1.*content/],
    ['bytes that are not UTF-8', qq({"prompt": "\xff\xfe", "completion": "b"}\n), qr/bad\.jsonl:1.*UTF-8/],
    ['a NUL', qq({"prompt": "a\0b", "completion": "b"}\n), qr/bad\.jsonl:1/],
    ['an escaped NUL', qq({"prompt": "a\\u0000b", "completion": "b"}\n), qr/bad\.jsonl:1/],
    ['half of a surrogate pair', qq({"prompt": "a\\ud800b", "completion": "b"}\n), qr/bad\.jsonl:1/],
    ['a key twice', qq({"prompt": "a", "prompt": "c", "completion": "b"}\n), qr/bad\.jsonl:1.*prompt/],
    ['nested 100,000 deep', '[' x 100_000 . "\n", qr/bad\.jsonl:1.*(deep|nest)/],
    ['broken on its third line', qq({"text": "a"}\n{"text": "b"}\n{"text": "c\n), qr/bad\.jsonl:3/],
    ['a byte order mark', "\xef\xbb\xbf$data", qr/bad\.jsonl:1:1.*remove/],
    ['UTF-16', "\xff\xfe{\0}\0\n\0", qr/bad\.jsonl:1.*UTF-/],
    ['a zip archive', "PK\x03\x04\x14\0\0\0", qr/bad\.jsonl:1/],
    ['cut zstd', "\x28\xb5\x2f\xfd\x04\x00\x99", qr/bad\.jsonl.*zstd|bad\.jsonl.*compress/],
    ['a token stream', $stream, qr/bad\.jsonl.*token stream|bad\.jsonl:1/],
);
for my $case (@records) {
    my ($name, $text, $pattern) = @$case;
    spit('bad.jsonl', $text);
    refuse("records: $name", 'ft-tokenize -m base -o out.ftok bad.jsonl', $pattern);
    unlink 'bad.jsonl';
}
refuse('records: longer than --max-tokens', 'ft-tokenize -m base --max-tokens 4 -o out.ftok data.jsonl',
    qr/data\.jsonl:1.*--overlong/);
refuse('records: all dropped', 'ft-tokenize -m base --max-tokens 4 --overlong drop -o out.ftok data.jsonl',
    qr/data\.jsonl.*no records/);
refuse('records: not of the format asked for', 'ft-tokenize -m base --format messages -o out.ftok data.jsonl',
    qr/data\.jsonl:1.*messages/);
refuse('records: the second file is bad', 'ft-tokenize -m base -o out.ftok data.jsonl start/config.json',
    qr/start\/config\.json:1/);
refuse('ids: beyond the vocabulary', 'ft-tokenize -m base --decode -o out.ftok -',
    qr/standard input:1.*300|standard input:1.*299/, stdin => "[300]\n");
refuse('ids: not a list', 'ft-tokenize -m base --decode -o out.ftok -', qr/standard input:1/,
    stdin => "{}\n");
refuse('ids: text that is not UTF-8', 'ft-tokenize -m base --ids -o out.ftok -', qr/standard input:1.*UTF-8/,
    stdin => "\xc0\x80\n");
my @others = (
    ['ft-split: no records', 'ft-split -o out -', '', qr/standard input/],
    ['ft-split: no JSON', 'ft-split -o out -', "x\n", qr/standard input:1/],
    ['ft-split: no such key to group by', 'ft-split -o out -g customer data.jsonl', '',
        qr/data\.jsonl.*"customer"/],
    ['ft-split: no such key to stratify by', 'ft-split -o out --stratify lable data.jsonl', '',
        qr/data\.jsonl.*"lable"/],
    ['ft-split: a key that a stream has not', 'ft-split -o out -g customer tokens.ftok', '', qr/customer/],
    ['ft-generate: a prompt without text', 'ft-generate --threads 1 -m base -', "{\"a\": 1}\n",
        qr/standard input:1.*prompt/],
    ['ft-generate: a broken second prompt', 'ft-generate --threads 1 -m base -',
        "{\"prompt\": \"a\"}\n{\"prompt\": \n", qr/standard input:2/],
    ['ft-generate: a prompt longer than the model', 'ft-generate --threads 1 -m base -',
        '{"prompt": "' . 'a ' x 99 . "\"}\n", qr/standard input:1.*64/],
    ['ft-generate: NUL', 'ft-generate --threads 1 -m base --plain -', "a\0b\n", qr/standard input:1.*NUL/],
    ['ft-generate: not UTF-8', 'ft-generate --threads 1 -m base --plain -', "\xff\n",
        qr/standard input:1.*UTF-8/],
    ['ft-vocab: nothing to learn from', 'ft-vocab -o out.json -', '', qr/standard input.*no text/],
    ['ft-vocab: no JSON', 'ft-vocab -o out.json -', "x\n", qr/standard input:1/],
    ['ft-vocab: none of the keys', 'ft-vocab -o out.json -k body data.jsonl', '',
        qr/data\.jsonl.*no text.*--key/],
    ['ft-vocab: not UTF-8', 'ft-vocab --plain -o out.json -', "\xff\n", qr/standard input:1.*UTF-8/],
    ['ft-vocab: a special token twice', 'ft-vocab -s <a> -s <a> -o out.json data.jsonl', '', qr/<a>/],
    ['ft-vocab: more specials than room', 'ft-vocab -n 257 -s <a> -s <b> -o out.json data.jsonl', '',
        qr/25[78]/],
    ['ft-lint: nothing can be mended into records', 'ft-lint --fix out.json nowhere.jsonl', '',
        qr/nowhere\.jsonl.*No such file/],
    ['ft-lint: a cut zstd stream', 'ft-lint --fix out.json -', "\x28\xb5\x2f\xfd\x04\x00\x99",
        qr/standard input/],
);
refuse($_->[0], $_->[1], $_->[3], stdin => $_->[2]) for @others;
spit('findings.jsonl', "x\n\xff\n{\"prompt\": \"a\\u0000\", \"completion\": 3}\n" . '[' x 100_000 . "\n");
{
    my ($status, $out, $message) = run('ft-lint findings.jsonl');
    report($status == 1 && $out =~ /broken/ && $out !~ /[\x00-\x08\x0e-\x1f]/,
        'ft-lint: broken lines are findings, status 1', $out, $message);
    unlink 'findings.jsonl';
}
{
    spit('crlf.jsonl', $data =~ s/\n/\r\n/gr);
    my ($status, $out) = run('ft-tokenize -m base --show 1 crlf.jsonl');
    my ($wanted, $plain) = run('ft-tokenize -m base --show 1 data.jsonl');
    report($status == 0 && $out =~ s/crlf/data/r eq $plain, 'records: CRLF changes nothing', $out, $plain);
    unlink 'crlf.jsonl';
}

# --- token streams ------------------------------------------------------------------------------------------

my @stream_uses = ('ft-split -o out bad.ftok',
    'ft-train -q --threads 1 -m base -t bad.ftok -s steps=1 -o out',
    'ft-eval --threads 1 -m base -o out bad.ftok',
    'ft-merge --threads 1 -m base -a adapter --probe bad.ftok -o out');
my $length = length $stream;
my $header_length = unpack 'x12 L<', $stream;
my %cuts = (nothing => 0, 'half of the magic' => 4, 'the magic' => 8, 'the version' => 12,
    'half of the header' => 16 + $header_length / 2, 'the header' => 16 + $header_length,
    'the prefix' => 24 + $header_length, 'half of a frame' => 24 + $header_length + 60,
    'half of the records' => $length / 2, 'half of the trailer' => $length - 30,
    'all but the last byte' => $length - 1);
my $turn = 0;
for my $cut (sort { $cuts{$a} <=> $cuts{$b} } keys %cuts) {
    spit('bad.ftok', substr $stream, 0, $cuts{$cut});
    my $use = $stream_uses[$turn++ % @stream_uses];
    refuse("stream: cut behind $cut", $use, qr/bad\.ftok/);
}
{   # every eleventh byte, and all at the seams
    my (@missed, $tried);
    my $before = listing();
    for (my $at = 0; $at < $length; $at += $at < 24 || $at > $length - 12 ? 3 : $sanitized ? 67 : 41) {
        my $bad = $stream;
        substr($bad, $at, 1) = chr(ord(substr $bad, $at, 1) ^ 1 << $at % 8);
        spit("$tmp/flipped.ftok", $bad);
        my ($status, $out, $message) = run("ft-split -o out $tmp/flipped.ftok");
        my @wrong = complaints($status, $message, qr/flipped\.ftok/, 2);
        push @missed, "byte $at: @wrong", $message if @wrong;
        $tried++;
    }
    report(!@missed && $before eq listing(), "stream: one flipped bit at each of $tried places is noticed",
        @missed);
}
spit('bad.ftok', "\x89FTOQ" . substr $stream, 5);
refuse('stream: wrong magic', $stream_uses[1], qr/bad\.ftok.*(not a token stream|ft-tokenize)/);
spit('bad.ftok', substr($stream, 0, 8) . pack('L<', 2) . substr $stream, 12);
refuse('stream: a later version', $stream_uses[2], qr/bad\.ftok.*version/);
spit('bad.ftok', $stream . 'x');
refuse('stream: a byte behind the end', $stream_uses[0], qr/bad\.ftok/);
spit('bad.ftok', substr($stream, 0, 12) . pack('L<', 0xffffffff) . substr $stream, 16);
refuse('stream: a header of 4 GiB', $stream_uses[1], qr/bad\.ftok/,
    $sanitized ? () : (limit => '-v 2000000'));
unlink 'bad.ftok';
refuse('stream: JSONL instead', 'ft-train -m base -t data.jsonl -o out', qr/data\.jsonl.*ft-tokenize/);
refuse('stream: a split without one', 'ft-train -m base -t foreign -o out', qr/foreign\/train\.ftok/);

# --- adapters -----------------------------------------------------------------------------------------------

my %adapter_config = ($adapter{'adapter_config.json'} =~ /^  "(\w+)": (.*?),?$/mg);
$adapter_config{target_modules} = '["down_proj","gate_proj","k_proj","o_proj","q_proj","up_proj","v_proj"]';
sub adapter_with { return ('adapter_config.json' => object(%adapter_config, @_)) }

sub adapter_weights {
    my ($from, $to) = @_;
    my $bytes = $adapter{'adapter_model.safetensors'};
    my $size = unpack 'Q<', $bytes;
    my $text = edited($from, $to, substr $bytes, 8, $size);
    return ('adapter_model.safetensors' => safetensors($text, substr $bytes, 8 + $size));
}

my @adapter_uses = ('ft-merge --threads 1 -m base -a bad -o out',
    'ft-eval --threads 1 -m base -a bad -o out tokens.ftok',
    'ft-generate --threads 1 -m base -a bad -n 2 prompts.jsonl');
my $q = 'base_model\.model\.model\.layers\.0\.self_attn\.q_proj\.lora_A\.weight';
my @adapters = (
    ['for another base', qr/digest abab.*but base has.*-m/,
        adapter_with(base_sha256 => '"' . 'ab' x 32 . '"')],
    ['a base digest that is none', qr/base_sha256/, adapter_with(base_sha256 => '"xyz"')],
    ['rank 0', qr/adapter_config\.json.*\br\b/, adapter_with(r => 0)],
    ['rank 10^9', qr/adapter_config\.json.*\br\b/, adapter_with(r => 1_000_000_000)],
    ['another rank than its weights', qr/lora_A.*\[2, 24\].*\[3, 24\]/, adapter_with(r => 3)],
    ['alpha 0', qr/alpha/, adapter_with(lora_alpha => 0)],
    ['an alpha in words', qr/lora_alpha/, adapter_with(lora_alpha => '"big"')],
    ['an unknown kind', qr/peft_type.*PREFIX_TUNING/, adapter_with(peft_type => '"PREFIX_TUNING"')],
    ['DoRA without its magnitudes', qr/lora_magnitude_vector is missing/, adapter_with(use_dora => 'true')],
    ['unknown biases', qr/bias/, adapter_with(bias => '"some"')],
    ['a module that the model has not', qr/z_proj/, adapter_with(target_modules => '["q_proj","z_proj"]')],
    ['no modules', qr/target/, adapter_with(target_modules => '[]')],
    ['fewer modules than weights', qr/unexpected/, adapter_with(target_modules => '["q_proj"]')],
    ['a missing key', qr/q_proj\.lora_A\.weight.*missing/,
        adapter_weights($q, 'base_model.model.model.layers.9.self_attn.q_proj.lora_A.weight')],
    ['a key of wrong shape', qr/q_proj\.lora_A\.weight.*\[16, 2\].*\[2, 16\]/,
        adapter_weights($q . '":\{"dtype":"F32","shape":\[2,16\]',
        'base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight":{"dtype":"F32","shape":[16,2]')],
    ['no weights', qr/adapter_model\.safetensors.*No such file/, 'adapter_model.safetensors' => undef],
    ['no configuration', qr/adapter_config\.json/, 'adapter_config.json' => undef],
    ['NaN', qr/lora_.*NaN/, 'adapter_model.safetensors' => number_at($adapter{'adapter_model.safetensors'},
        length($adapter{'adapter_model.safetensors'}) - 4, "\xff\xff\xff\x7f")],
);
for my $i (0 .. $#adapters) {
    my ($name, $pattern, %other) = @{$adapters[$i]};
    directory('bad', \%adapter, %other);
    refuse("adapter: $name", $adapter_uses[$i % @adapter_uses], qr/bad.*$pattern/);
    remove_tree('bad');
}

# --- recipes and runs ---------------------------------------------------------------------------------------

my @recipes = (
    ['an unknown key', '{"lora": {"rnak": 3}}', qr/lora\.rnak.*lora\.rank/],
    ['a rate in words', '{"lr": "fast"}', qr/lr/],
    ['a negative rate', '{"lr": -1}', qr/lr/],
    ['no steps', '{"steps": 0}', qr/steps/],
    ['half a step', '{"steps": 1.5}', qr/steps/],
    ['a seed of 2^64', '{"seed": 18446744073709551616}', qr/seed/],
    ['steps and epochs', '{"steps": 2, "epochs": 1}', qr/steps.*epochs/],
    ['an adapter of random weights', '{"method": "lora", "init": "random"}', qr/method full/],
    ['a rank for full training', '{"method": "full", "lora": {"rank": 4}}', qr/lora\.rank/],
    ['an unknown method', '{"method": "magic"}', qr/magic.*lora/],
    ['an unknown module', '{"lora": {"targets": ["q_prjo"]}}', qr/q_prjo.*q_proj/],
    ['rank 0', '{"lora": {"rank": 0}}', qr/lora\.rank/],
    ['a key twice', '{"lr": 1, "lr": 2}', qr/lr/],
    ['a list', '[]', qr/object/],
);
for my $case (@recipes) {
    my ($name, $text, $pattern) = @$case;
    spit('bad.json', $text);
    refuse("recipe: $name", 'ft-train -q --threads 1 -m base -t tokens.ftok -r bad.json -o out',
        qr/bad\.json.*$pattern|^ft-train: (recipe: |base: ).*$pattern/);
}
unlink 'bad.json';
my $train = 'ft-train -q --threads 1 -m base -t tokens.ftok -s steps=4 -s lora.rank=2 -s save_every=1';
refuse('recipe: -s without a value', "$train -s lr -o out", qr/-s lr.*key=value/);
refuse('recipe: -s with an unknown key', "$train -s warmpu=1 -o out", qr/warmpu.*warmup/);
refuse('run: --resume with another recipe', "$train -s lr=0.5 --resume -o half",
    qr/half.*another recipe.*--force/);
refuse('run: over an unfinished one', "$train -o half", qr/half.*unfinished.*--resume/);
refuse('run: --resume with other data', "$train -v split/valid.ftok --resume -o half",
    qr/half.*other validation data/);
for my $cut (['cut state', 'checkpoint/state.json', 20],
    ['cut tensors', 'checkpoint/state.safetensors', 100]) {
    my ($name, $path, $size) = @$cut;
    my ($found) = -e "half/$path" ? "half/$path" : glob 'half/checkpoint/*.safetensors';
    my $whole = slurp($found);
    spit($found, substr $whole, 0, $size);
    refuse("run: --resume from $name", "$train --resume -o half", qr/half\/checkpoint/);
    spit($found, $whole);
}
refuse('run: into a directory of something else', "$train -o foreign",
    qr/foreign.*(not a training run|not made by ft)/);

# --- evidence -----------------------------------------------------------------------------------------------

my @tampered = (
    ['a flipped bit', 'model.safetensors', sub { number_at($_[0], length($_[0]) - 4, 'abcd') }, 1,
        qr/model\.safetensors/],
    ['a missing file', 'config.json', sub { undef }, 1, qr/config\.json/],
    ['a line that leaves the directory', 'SHA256SUMS', sub { '0' x 64 . "  ../base/config.json\n" . $_[0] },
        2, qr/SHA256SUMS/],
    ['a sum that is none', 'SHA256SUMS', sub { "zz\n" . $_[0] }, 2, qr/SHA256SUMS:1/],
    ['an empty list', 'SHA256SUMS', sub { '' }, 1, qr/is there but not listed/],
    ['a provenance that is no JSON', 'provenance.json', sub { 'x' }, 1, qr/provenance\.json/],
);
for my $case (@tampered) {
    my ($name, $path, $change, $wanted, $pattern) = @$case;
    directory('bad', {map { (m{([^/]+)$} => slurp($_)) } glob 'tuned/*'});
    my $changed = $change->(slurp("bad/$path"));
    defined $changed ? spit("bad/$path", $changed) : unlink "bad/$path";
    refuse("evidence: $name", 'ft-verify base adapter bad', qr/bad.*$pattern/, status => $wanted);
    remove_tree('bad');
}
refuse('evidence: a directory without any', 'ft-verify foreign', qr/SHA256SUMS/);
refuse('evidence: nothing there', 'ft-verify nowhere', qr/nowhere.*No such file/);
refuse('evidence: an input that is not given', 'ft-verify --all-inputs tuned', qr/tuned.*(base|model)/,
    status => 1);

# --- names, streams and disks -------------------------------------------------------------------------------

my @names = (
    ['ft-lint nowhere.jsonl', qr/nowhere\.jsonl.*No such file/],
    ['ft-lint foreign', qr/foreign.*directory/],
    ['ft-tokenize -m base -o out.ftok nowhere.jsonl', qr/nowhere\.jsonl.*No such file/],
    ['ft-tokenize -m nowhere -o out.ftok data.jsonl', qr/nowhere.*No such file/],
    ['ft-tokenize -m base -o out.ftok foreign', qr/foreign.*directory/],
    ['ft-tokenize -m base -o foreign data.jsonl', qr/foreign.*directory/],
    ['ft-tokenize -m base -o nowhere/out.ftok data.jsonl', qr/nowhere\/out\.ftok.*mkdir/],
    ['ft-split -o foreign data.jsonl', qr/foreign.*not made by ft/],
    ['ft-split -o data.jsonl data.jsonl', qr/data\.jsonl.*not a directory/],
    ['ft-split -o out nowhere.jsonl', qr/nowhere\.jsonl.*No such file/],
    ['ft-split -o out foreign', qr/foreign.*directory/],
    ['ft-split -o nowhere/out data.jsonl', qr/nowhere\/out.*mkdir/],
    ['ft-train -m nowhere -t tokens.ftok -o out', qr/nowhere.*No such file/],
    ['ft-train -m base -t nowhere.ftok -o out', qr/nowhere\.ftok.*No such file/],
    ['ft-train -m base -t tokens.ftok -r nowhere.json -o out', qr/nowhere\.json.*No such file/],
    ['ft-train -m base -t tokens.ftok -o data.jsonl', qr/data\.jsonl.*not a directory/],
    ['ft-eval -m nowhere tokens.ftok', qr/nowhere.*No such file/],
    ['ft-eval -m base nowhere.ftok', qr/nowhere\.ftok.*No such file/],
    ['ft-eval -m base -a nowhere tokens.ftok', qr/nowhere/],
    ['ft-eval -m base -t loss -o foreign tokens.ftok', qr/foreign.*not made by ft/],
    ['ft-eval -m base foreign', qr/foreign.*directory/],
    ['ft-merge -m base -a nowhere -o out', qr/nowhere/],
    ['ft-merge -m base -a base -o out', qr/base.*adapter/],
    ['ft-merge -m base -a adapter -o foreign', qr/foreign.*not made by ft/],
    ['ft-generate -m base nowhere.jsonl', qr/nowhere\.jsonl.*No such file/],
    ['ft-generate -m base -a foreign prompts.jsonl', qr/foreign/],
    ['ft-generate -m base foreign', qr/foreign.*directory/],
    ['ft-generate -m data.jsonl prompts.jsonl', qr/data\.jsonl/],
    ['ft-vocab -o out.json nowhere.txt', qr/nowhere\.txt.*No such file/],
    ['ft-vocab -o out.json foreign', qr/foreign.*directory/],
    ['ft-vocab -o foreign data.jsonl', qr/foreign.*directory/],
);
refuse("names: $_->[0]", @$_) for @names;
refuse('names: an empty output', ['ft-split', '-o', '', 'data.jsonl'], qr/empty/);
refuse('names: an empty stream', ['ft-tokenize', '-m', 'base', '-o', '', 'data.jsonl'],
    qr/empty|No such file/);
refuse('names: longer than a file system allows',
    ['ft-tokenize', '-m', 'base', '-o', 'x' x 300, 'data.jsonl'], qr/too long/);

if ($>) {
    mkdir 'locked', 0555;
    spit('secret.jsonl', $data);
    chmod 0, 'secret.jsonl';
    refuse('permissions: an unreadable file', 'ft-tokenize -m base -o out.ftok secret.jsonl',
        qr/secret\.jsonl.*Permission denied/);
    refuse('permissions: an unwritable directory', 'ft-tokenize -m base -o locked/out.ftok data.jsonl',
        qr/locked\/out\.ftok.*Permission denied/);
    refuse('permissions: no room for a run', "$train -o locked/run", qr/locked\/run.*Permission denied/);
    chmod 0755, 'locked';
    remove_tree('locked', 'secret.jsonl');
} else { SKIP: { skip 'permissions: root may read and write everything', 3 } }

my @full = ('ft-lint data.jsonl', 'ft-tokenize -m base data.jsonl', 'ft-tokenize -m base --show 2 data.jsonl',
    'ft-tokenize -m base --ids data.jsonl', 'ft-generate --threads 1 -m base -n 2 prompts.jsonl',
    'ft-eval --threads 1 -m base -t loss tokens.ftok', 'ft-verify base', 'ft-vocab data.jsonl',
    "$train --plan", 'ft-lint --fix - data.jsonl', map { "$_ --help" } @programs);
if (-c '/dev/full') {
    refuse("full: $_ >/dev/full", $_, qr/No space left/, stdout => '/dev/full') for @full;
    refuse("full: $_", $_, qr/\/dev\/full.*No space left/)
        for 'ft-tokenize -m base -o /dev/full data.jsonl', 'ft-vocab -o /dev/full data.jsonl',
            'ft-lint --fix /dev/full data.jsonl';
    refuse("full: $_", $_, qr/\/dev\/full.*(not a directory)/)
        for 'ft-split -o /dev/full data.jsonl', 'ft-merge --threads 1 -m base -a adapter -o /dev/full',
            "$train -o /dev/full";
} else { SKIP: { skip 'there is no /dev/full', 1 } }
refuse("closed: $_ >&-", $_, qr/standard output.*Bad file descriptor/, stdout => 'closed') for @full;
refuse("closed: $_ >&-", $_, qr/standard output.*Bad file descriptor/, stdout => 'closed')
    for 'ft-tokenize -m base --show 2 -o out.ftok data.jsonl';
{   # with standard error closed, words must not end in the output
    my ($status) = run('ft-tokenize -m base -o out.ftok data.jsonl', stderr => 'closed');
    report($status == 0 && slurp('out.ftok') eq $stream, 'closed: ft-tokenize 2>&- writes the same stream');
    unlink 'out.ftok';
}

spit('big.jsonl', join '', map { $data =~ s/^(\{"prompt": ")/$1$_ /gmr } 1 .. 200);
refuse('limit: ft-tokenize past ulimit -f', 'ft-tokenize -m base -o out.ftok big.jsonl',
    qr/out\.ftok.*File too large/, limit => '-f 8');
refuse('limit: ft-split past ulimit -f', 'ft-split -o out big.jsonl', qr/out\/train\.jsonl.*File too large/,
    limit => '-f 8');
mkdir 'small';
if ($> == 0 && system("mount -t tmpfs -o size=20k none '$tmp/w/small' 2>/dev/null") == 0) {
    $mounted = 1;
    refuse("disk: $_->[0]", $_->[1], qr/small\/out.*No space left/) for
        ['ft-tokenize', 'ft-tokenize -m base -o small/out.ftok big.jsonl'],
        ['ft-lint', 'ft-lint --fix small/out.jsonl big.jsonl'],
        ['ft-split', 'ft-split -o small/out big.jsonl'],
        ['ft-merge', 'ft-merge --threads 1 -m base -a adapter -o small/out'];
    my ($status, $out, $message) = run("$train -s method=full -o small/out" =~ s/-s lora.rank=2//r);
    my @left = grep { /\.tmp$/ } glob 'small/out/* small/out/.* small/.*';
    report($status == 2 && $message =~ /small\/out.*No space left/ && !@left,
        'disk: ft-train says so and leaves no temporary', $message);
    system 'umount', "$tmp/w/small";
    $mounted = 0;
} else { SKIP: { skip 'only root may mount', 5 } }
rmdir 'small';

# --- absurd sizes, in little memory -------------------------------------------------------------------------

if ($sanitized) { SKIP: { skip 'sanitizers need address space', 2 } }
else {
    my %huge = (hidden_size => 65536, intermediate_size => 262144, num_hidden_layers => 1000,
        num_attention_heads => 512, num_key_value_heads => 512);
    directory('bad', \%base, 'config.json' => object(%config, %huge));
    refuse('memory: a model of terabytes', $use{random}, qr/bad: out of memory/, limit => '-v 2000000');
    refuse('memory: its weights, which are not there', $use{generate}, qr/bad/, limit => '-v 2000000');
    remove_tree('bad');
}

# --- options ------------------------------------------------------------------------------------------------

for my $program (@programs) {
    refuse("options: $program with an unknown one", "$program --frobnicate", qr/--frobnicate.*--help/);
    my ($status, $out, $message) = run("$program --help");
    report($status == 0 && $out =~ /^usage: $program / && $out =~ /Exit status/ && $message eq '',
        "options: $program --help", $out, $message);
}
my @options = (
    ['ft-eval --modle base tokens.ftok', qr/--modle.*--model/],
    ['ft-train --thraeds 2', qr/--thraeds.*--threads/],
    ['ft-generate --temprature 1', qr/--temprature.*--temperature/],
    ['ft-split --ratio=80/20/0 -o out data.jsonl', qr/--ratio;.*--ratios/],
    ['ft-train --threads many', qr/--threads.*many/],
    ['ft-train --threads -1', qr/--threads.*-1/],
    ['ft-train --threads 0', qr/--threads.*0/],
    ['ft-train --threads 99999999999999999999', qr/--threads.*99999999999999999999/],
    ['ft-train --resume=yes', qr/--resume.*no value/],
    ['ft-train -m', qr/-m needs/],
    ['ft-train', qr/-m MODEL/],
    ['ft-train -m base', qr/-t TRAIN/],
    ['ft-train -m base -t tokens.ftok', qr/-o RUN/],
    ['ft-train -m base -t tokens.ftok -o out tokens.ftok', qr/operand/],
    ['ft-eval', qr/-m/],
    ['ft-eval -m base', qr/token stream/],
    ['ft-eval -m base tokens.ftok tokens.ftok', qr/one token stream/],
    ['ft-eval -m base -t exact,bleau tokens.ftok', qr/bleau/],
    ['ft-eval -m base -t loss --resamples 5 tokens.ftok', qr/--resamples.*100/],
    ['ft-eval --threads 1 -m base -t loss --bar exact -o out tokens.ftok', qr/--bar.*NAME>=VALUE/],
    ['ft-eval --threads 1 -m base -t loss --bar acuracy>=0.5 -o out tokens.ftok', qr/--bar.*acuracy/],
    ['ft-generate', qr/-m/],
    ['ft-generate -m base a b', qr/one file/],
    ['ft-generate -m base --temperature nan prompts.jsonl', qr/--temperature.*nan/],
    ['ft-generate -m base --temperature -1 prompts.jsonl', qr/--temperature/],
    ['ft-generate -m base --top-p 1.5 prompts.jsonl', qr/--top-p/],
    ['ft-generate -m base --temperature 1e999 prompts.jsonl', qr/--temperature/],
    ['ft-lint --similarity 2 data.jsonl', qr/--similarity/],
    ['ft-lint --fix out.json data.jsonl data.jsonl', qr/--fix/],
    ['ft-lint - -', qr/standard input/],
    ['ft-lint --format mesages data.jsonl', qr/mesages.*messages/],
    ['ft-merge', qr/-m MODEL/],
    ['ft-merge -m base', qr/-o DIR.*missing/],
    ['ft-merge -m base -a adapter', qr/-o DIR/],
    ['ft-merge -m base -a adapter -o out extra', qr/extra/],
    ['ft-merge -m base -a adapter --dtype int4 -o out', qr/--dtype.*int4.*bf16/],
    ['ft-merge -m base -a adapter --tolerance -3 -o out', qr/--tolerance/],
    ['ft-split data.jsonl', qr/-o DIR/],
    ['ft-split -o out -r 50/40/20 data.jsonl', qr/50\/40\/20/],
    ['ft-split -o out -r 80/20 data.jsonl', qr/80\/20/],
    ['ft-split -o out -r 80/30/-10 data.jsonl', qr/80\/30/],
    ['ft-split -o out --seed x data.jsonl', qr/--seed.*x/],
    ['ft-split -o out a b', qr/one input/],
    ['ft-tokenize data.jsonl', qr/-m/],
    ['ft-tokenize -m base --format alpaca -o out.ftok data.jsonl', qr/alpaca.*instruction/],
    ['ft-tokenize -m base --loss none -o out.ftok data.jsonl', qr/none.*completion/],
    ['ft-tokenize -m base --overlong skip --max-tokens 9 -o out.ftok data.jsonl', qr/skip.*drop/],
    ['ft-tokenize -m base --overlong drop -o out.ftok data.jsonl', qr/--max-tokens/],
    ['ft-tokenize -m base --ids --decode data.jsonl', qr/--ids.*--decode|--decode.*--ids/],
    ['ft-verify', qr/at least one/],
    ['ft-vocab -n 100 -o out.json data.jsonl', qr/--size.*257/],
    ['ft-vocab -n 1e3 -o out.json data.jsonl', qr/--size.*1e3/],
);
refuse("options: $_->[0]", @$_) for @options;

# --- signals in the middle ----------------------------------------------------------------------------------

# Starts a program that waits for more input after it has begun to write, and ends it by a signal.
sub interrupt {
    my ($signal, $command, $begin) = @_;
    my $before = listing();
    pipe my $read, my $write or die "pipe: $!\n";
    my $pid = fork // die "fork: $!\n";
    if (!$pid) {
        close $write;
        $SIG{$signal} = 'DEFAULT'; # a suite in the background inherits SIGINT ignored
        open STDIN, '<&', $read;
        open STDOUT, '>', "$tmp/stdout";
        open STDERR, '>', "$tmp/stderr";
        exec(map { /^ft-/ ? "$bin/$_" : $_ } split " ", $command) or POSIX::_exit(98);
    }
    close $read;
    syswrite $write, $begin; # more than a pipe holds: back from here, the program has read the rest
    for (1 .. 200) {
        last if grep { /\.tmp$/ } glob '.ft-*' or $command !~ / -o| --fix/;
        select undef, undef, undef, 0.02;
    }
    kill $signal, $pid;
    waitpid $pid, 0;
    my $number = $? & 127;
    close $write;
    report($number == {INT => 2, TERM => 15, HUP => 1}->{$signal} && $before eq listing(),
        "signals: $signal ends $command, nothing stays", "ended by $number", slurp("$tmp/stderr"));
}
my $more = $data x 90;
interrupt('INT', 'ft-tokenize -m base -o out.ftok -', $more);
interrupt('TERM', 'ft-split -o out -', $more);
interrupt('HUP', 'ft-tokenize -m base --ids -o out.ftok -', $more);
interrupt('INT', 'ft-lint -', $more);
interrupt('TERM', 'ft-vocab -o out.json -', $more);
interrupt('INT', 'ft-generate --threads 1 -m base -n 1 --text -', $more);

# Into a pipe that nobody reads.
for my $command ('ft-tokenize -m base --show 3200 -o out.ftok big.jsonl', 'ft-lint --fix out.json data.jsonl',
    'ft-tokenize -m base data.jsonl', 'ft-vocab data.jsonl',
    'ft-generate --threads 1 -m base -n 2 prompts.jsonl', 'ft-verify base') {
    my $before = listing();
    system('sh', '-c', "{ $bin/$command 2>'$tmp/stderr'; echo \$? >'$tmp/status'; } | exec true");
    chomp(my $status = slurp("$tmp/status"));
    my $whole = $before eq listing() || -e 'out.json' || -e 'out.ftok';
    report($status =~ /^(141|0|1)$/ && $whole && !glob('.ft-*'),
        "signals: $command | true leaves nothing half", $status, slurp("$tmp/stderr"));
    unlink 'out.ftok', 'out.json';
}

done_testing;
