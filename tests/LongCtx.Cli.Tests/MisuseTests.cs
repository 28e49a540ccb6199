namespace LongCtx.Cli.Tests;

/// <summary>A user's mistake: exit code 2, nothing on stdout, one line on stderr that says what to do.</summary>
public sealed class MisuseTests
{
    const string Book = "BOOK"; // replaced by the path of a text

    [Theory]
    // The line itself.
    [InlineData("", "--help")]
    [InlineData("nonsense", "nonsense")]
    [InlineData("tokenize", "Give --text or --file")]
    [InlineData("tokenize --text a --file BOOK", "exclude each other")]
    [InlineData("generate --prompt", "--prompt")]
    [InlineData("generate --prompt a --nonsense", "--nonsense")]
    [InlineData("eval", "--help")]
    [InlineData("eval ppl", "--file")]
    // Ranges.
    [InlineData("generate --model pg19-7m --prompt a --max-tokens -1", "from 1 up")]
    [InlineData("generate --model pg19-7m --prompt a --max-tokens 1.5", "whole number")]
    [InlineData("generate --model pg19-7m --prompt a --temperature 3", "from 0 to 2")]
    [InlineData("generate --model pg19-7m --prompt a --temperature NaN", "from 0 to 2")]
    [InlineData("generate --model pg19-7m --prompt a --temperature 0,5", "from 0 to 2")]
    [InlineData("generate --model pg19-7m --prompt a --top-p 0", "above 0 up to 1")]
    [InlineData("generate --model pg19-7m --prompt a --seed -1", "from 0 to 18446744073709551615")]
    [InlineData("generate --model pg19-7m --prompt a --penalty-window 2000", "from 0 to 1024")]
    [InlineData("generate --model pg19-7m --prompt a --threads 0", "from 1")]
    [InlineData("eval ppl --model pg19-7m --file BOOK --tokens 1", "from 2 up")]
    [InlineData("eval ppl --model pg19-7m --file BOOK --tokens 99999999999", "from 2 up")]
    [InlineData("eval ppl --model pg19-7m --file BOOK --chunk 0", "from 1 to")]
    [InlineData("eval passkey --model pg19-7m --length 500 --depth -1 --count 1 --filler repeated", "from 0")]
    [InlineData("bench --model pg19-7m --prefill 0", "from 1")]
    [InlineData("bench --model pg19-7m --prefill 1,x", "separated by commas")]
    [InlineData("bench --model pg19-7m --decode 16", "1@512")]
    [InlineData("bench --model pg19-7m --decode 0@512", "1@512")]
    [InlineData("bench --model pg19-7m --runs 2", "from 3")]
    [InlineData("bench store --cold -1", "from 0")]
    [InlineData("bench store --stored 1000001", "from 0 to 1000000")]
    [InlineData("bench store --streams 1 --stream-conversations 0", "from 1")]
    // Policies.
    [InlineData("generate --model pg19-7m --raw --prompt a --policy forever", "endless")]
    [InlineData("generate --model pg19-7m --raw --prompt a --capacity 10", "too small")]
    [InlineData("generate --model pg19-7m --raw --prompt a --capacity -5", "from 0")]
    [InlineData("generate --model pg19-7m --raw --prompt a --policy streaming --capacity 600", "512")]
    [InlineData("generate --model pg19-7m --raw --prompt a --rule 4,1,1,600,16", "512")]
    [InlineData("generate --model pg19-7m --raw --prompt a --rule 4,1,1", "S,W,G,C,B")]
    [InlineData("generate --model pg19-7m --raw --prompt a --rule 4,6,4,256,16", "divide")]
    [InlineData("generate --model pg19-7m --raw --prompt a --rule 4,1,1,256,16 --policy endless", "exclude each other")]
    [InlineData("generate --model pg19-7m --raw --prompt a --rule 4,1,1,256,16 --capacity 256", "fourth number")]
    [InlineData("generate --model pg19-7m --raw --prompt a --policy full --capacity 256", "capacity")]
    [InlineData("eval ppl --model pg19-7m --file BOOK --tokens 50 --rule 4,6,4,256,16", "divide")]
    [InlineData("eval free --model pg19-7m --tokens 600 --policy full", "512")]
    // Files and models.
    [InlineData("generate --model nowhere.gguf --prompt a", "nowhere.gguf")]
    [InlineData("chat --model nowhere.gguf", "nowhere.gguf")]
    [InlineData("bench --model nowhere.gguf", "nowhere.gguf")]
    [InlineData("embed --model nowhere --text a", "all-minilm-l6-v2")]
    [InlineData("tokenize --model BOOK --text a", "book-3125.txt")]
    [InlineData("generate --model BOOK --prompt a", "book-3125.txt")]
    [InlineData("generate --model all-minilm-l6-v2 --raw --prompt a", "encoder")]
    [InlineData("eval ppl --model all-minilm-l6-v2 --file BOOK", "encoder")]
    [InlineData("embed --model pg19-7m --text a", "decoder")]
    [InlineData("serve --nonsense", "--nonsense")]
    [InlineData("serve --data none --model nowhere.gguf", "nowhere.gguf")]
    [InlineData("serve --data none --model pg19-7m --capacity 10", "too small")]
    [InlineData("eval ppl --model pg19-7m --file /nowhere/book.txt", "no such file")]
    [InlineData("eval ppl --model pg19-7m --file /", "directory")]
    [InlineData("generate --model pg19-7m --prompt-file /nowhere/prompt.txt", "no such file")]
    [InlineData("generate --model pg19-7m --raw --prompt=", "--prompt")]
    // Passkeys.
    [InlineData("eval passkey --model pg19-7m --length 500 --depth 499 --count 1 --filler repeated", "at most")]
    [InlineData("eval passkey --model pg19-7m --length 500 --depth 10 --count 1 --filler book", "--file")]
    [InlineData("eval passkey --model pg19-7m --length 500 --depth 10 --count 1 --filler repeated --file BOOK", "no meaning")]
    [InlineData("eval passkey --model pg19-7m --length 50000 --depth 10 --count 1 --filler book --file BOOK", "longer text")]
    [InlineData("eval passkey --model pg19-7m --length 500 --depth 10 --count 1 --filler grass", "grass")]
    public async Task Run_UsersMistake_ExitsWith2AndOneLine(string line, string expected)
    {
        string[] arguments = [.. line.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(a => a == Book ? Cli.Book : a)];
        (int exit, string output, string error) = await Cli.RunAsync("", arguments);
        Assert.Equal("", output);
        Assert.True(error.Count(c => c == '\n') == 1 && error.EndsWith('\n'), error);
        Assert.StartsWith("longctx: ", error, StringComparison.Ordinal);
        Assert.Contains(expected, error, StringComparison.Ordinal);
        Assert.Equal(2, exit);
    }
}
