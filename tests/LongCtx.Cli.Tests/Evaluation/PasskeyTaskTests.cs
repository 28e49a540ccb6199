using System.Text;
using LongCtx.Cli.Evaluation;

namespace LongCtx.Cli.Tests.Evaluation;

public sealed class PasskeyTaskTests
{
    const string Book = "It was a bright cold day in April, and the clocks were striking thirteen, as they do in books. ";

    /// <summary>One token per UTF-8 byte: every part can be read back.</summary>
    static int[] Encode(string text) => [.. Encoding.UTF8.GetBytes(text).Select(b => (int)b)];

    static string Decode(ReadOnlySpan<int> tokens) => Encoding.UTF8.GetString([.. tokens.ToArray().Select(t => (byte)t)]);

    static string LongBook => string.Concat(Enumerable.Repeat(Book, 50));

    [Theory]
    [InlineData(2000, 0)]
    [InlineData(2000, 1)]
    [InlineData(2000, 1000)]
    [InlineData(2001, 1500)]
    public void Create_AnyFiller_LengthAndDepthAreExact(int length, int depth)
    {
        foreach (string? book in (string?[])[null, LongBook])
        {
            PasskeyPrompt prompt = new PasskeyTask(Encode, book).Create(length, depth, new Random(1));
            Assert.Equal(length, prompt.Tokens.Length);
            Assert.Equal(depth, prompt.QuestionStart - prompt.KeyEnd);
            Assert.EndsWith($"\nThe pass key is {prompt.Key}. Remember it. {prompt.Key} is the pass key.", Decode(prompt.Tokens.AsSpan(0, prompt.KeyEnd)), StringComparison.Ordinal);
            Assert.Equal("\nWhat is the pass key? The pass key is ", Decode(prompt.Tokens.AsSpan(prompt.QuestionStart)));
            Assert.StartsWith("There is an important info hidden", Decode(prompt.Tokens), StringComparison.Ordinal);
            Assert.Equal(prompt.Key, Decode(prompt.Answer));
        }
    }

    [Fact]
    public void Create_BlankThatMergesWithTheNumber_StaysInTheAnswer()
    {
        int[] Merging(string text) => [.. text.Replace(" 1", "\u0001", StringComparison.Ordinal).Select(c => (int)c)];
        var random = new Random(1);
        PasskeyPrompt prompt;
        do prompt = new PasskeyTask(Merging, book: null).Create(700, 50, random);
        while (prompt.Key[0] != '1');
        Assert.Equal('\u0001', prompt.Answer[0]);
        Assert.Equal('s', prompt.Tokens[^1]);
        Assert.Equal(700, prompt.Tokens.Length);
    }

    [Fact]
    public void Create_RepeatedFiller_KeyBeginsALineAfterAWholeSentence()
    {
        PasskeyPrompt prompt = new PasskeyTask(Encode, book: null).Create(1500, 700, new Random(3));
        Assert.Contains("There and back again.\nThe pass key is ", Decode(prompt.Tokens), StringComparison.Ordinal);
        Assert.Contains("is the pass key.\nThe grass is green.", Decode(prompt.Tokens), StringComparison.Ordinal);
    }

    [Fact]
    public void Create_BookFiller_IsOneRunOfTheBookAroundTheKey()
    {
        // Numbered words: what follows the key goes on where the text before it stopped, but for the line end in place of one character.
        string book = string.Concat(Enumerable.Range(1000, 1000).Select(i => $"{i} "));
        PasskeyPrompt prompt = new PasskeyTask(Encode, book).Create(1500, 500, new Random(3));
        string before = Decode(prompt.Tokens.AsSpan(0, prompt.KeyEnd)).Split("\nThe pass key")[0], after = Decode(prompt.Tokens.AsSpan(prompt.KeyEnd, 500));
        Assert.StartsWith("\n", after, StringComparison.Ordinal);
        int end = book.IndexOf(before[^40..], StringComparison.Ordinal) + 40;
        Assert.Equal(after[1..], book.Substring(end + 1, 499));
    }

    [Fact]
    public void Create_SameSeed_SamePromptAndOtherSeedOtherKey()
    {
        var task = new PasskeyTask(Encode, LongBook);
        PasskeyPrompt first = task.Create(1000, 100, new Random(5)), again = task.Create(1000, 100, new Random(5));
        Assert.Equal(first.Tokens, again.Tokens);
        Assert.NotEqual(first.Key, task.Create(1000, 100, new Random(6)).Key);
    }

    [Fact]
    public void Create_OneGenerator_GivesDifferentKeysOfFiveDigits()
    {
        var task = new PasskeyTask(Encode, book: null);
        var random = new Random(9);
        string[] keys = [.. Enumerable.Range(0, 50).Select(_ => task.Create(600, 100, random).Key)];
        Assert.True(keys.Distinct().Count() > 45);
        Assert.All(keys, key => Assert.Matches("^[1-9][0-9]{4}$", key));
    }

    [Fact]
    public void Create_DepthBeyondLength_IsRefusedWithTheGreatestDepth()
    {
        var task = new PasskeyTask(Encode, book: null);
        var refusal = Assert.Throws<LongCtxException>(() => task.Create(1000, 990, new Random(1)));
        int most = int.Parse(refusal.Message[(refusal.Message.LastIndexOf(' ') + 1)..], System.Globalization.CultureInfo.InvariantCulture);
        Assert.Equal(1000, task.Create(1000, most, new Random(1)).Tokens.Length);
        Assert.Throws<LongCtxException>(() => task.Create(1000, most + 1, new Random(1)));
    }

    [Fact]
    public void Create_BookTooShort_IsRefused()
    {
        var refusal = Assert.Throws<LongCtxException>(() => new PasskeyTask(Encode, Book).Create(5000, 100, new Random(1)));
        Assert.Contains("give a longer text", refusal.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(" 12345", true)]
    [InlineData("\n12345. Remember", true)]
    [InlineData("12345", true)]
    [InlineData(" 123456", false)]
    [InlineData(" 1234", false)]
    [InlineData(" the 12345", false)]
    public void IsKey_Answer_MustBeExactlyTheKey(string answer, bool expected) => Assert.Equal(expected, PasskeyEvaluation.IsKey(answer, "12345"));
}
