namespace LongCtx.Conversations.Tests;

public sealed class ConversationIdTests
{
    [Fact]
    public void New_RisesWithinAMillisecond_AndIsAUuidOfVersion7()
    {
        string[][] made = new string[4][];
        Parallel.For(0, made.Length, i => made[i] = [.. Enumerable.Range(0, 20_000).Select(_ => ConversationIds.New("m"))]);
        foreach (string[] ids in made) Assert.Equal(ids.Order(StringComparer.Ordinal), ids);
        string[] all = [.. made.SelectMany(ids => ids)];
        Assert.Equal(all.Length, all.Distinct(StringComparer.Ordinal).Count());
        Assert.All(all, id => Assert.True(ConversationIds.IsConversation(id)));
        Guid uuid = Guid.ParseExact(all[0]["conv_".Length..][8..], "N");
        Assert.Equal((7, 8), (uuid.Version, uuid.Variant & 0xc));
    }
}
